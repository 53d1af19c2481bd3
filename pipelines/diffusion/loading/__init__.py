"""FLUX's components from the files that users have: folders of diffusers, ComfyUI's single files, LoRAs."""

from .casting import compute_dtype_of
from .controlnet import load_controlnet
from .folder import Components, load_folder
from .lora import apply_loras, load_lora
from .redux import ReduxComponents, load_redux
from .text_encoders import TextEncoders, load_text_encoders
from .transformer import load_transformer
from .vae import load_vae

__all__ = [
    "Components",
    "ReduxComponents",
    "TextEncoders",
    "apply_loras",
    "compute_dtype_of",
    "load_controlnet",
    "load_folder",
    "load_lora",
    "load_redux",
    "load_text_encoders",
    "load_transformer",
    "load_vae",
]
