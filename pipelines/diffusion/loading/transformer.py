"""FLUX's transformer from a single file or a folder of diffusers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import Bundle3DError
from .assemble import fill, without_memory
from .configurations import FLUX_DEV, rotary_axes
from .source import read_component, wrong_kind
from .transformer_keys import is_original, to_diffusers

if TYPE_CHECKING:
    from diffusers import FluxTransformer2DModel

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
NEEDED = {"x_embedder.weight", "transformer_blocks.0.attn.norm_q.weight"}
WHAT = "a FLUX transformer"
ADVICE = "choose a FLUX.1-dev model, such as flux1-dev.safetensors in ComfyUI's folder diffusion_models"


def load_transformer(path: Path, dtype: torch.dtype | None = None) -> FluxTransformer2DModel:
    """FLUX's transformer from a file or a folder, memory-mapped, with its weights stored as they are there.

    Files may have Black Forest Labs' names or diffusers', with or without ComfyUI's prefix, in float32, bf16, fp16 or
    fp8, and may be all-in-one checkpoints. The transformer computes in ``dtype``, or in the file's type (bfloat16 where
    that is fp8).
    Raises Bundle3DError where the file holds no FLUX.1 transformer for text to image, or not a whole one.
    """
    from diffusers import FluxTransformer2DModel

    path = Path(path)
    settings, state, file = read_component(path, ("FluxTransformer2DModel",), PREFIXES)
    if settings is None:
        state = _renamed(state)
        if NEEDED - state.keys() or "controlnet_x_embedder.weight" in state:
            raise wrong_kind(path, WHAT, ADVICE)
    model = without_memory(
        lambda: FluxTransformer2DModel.from_config(settings or transformer_config(state)), file, WHAT
    )
    if model.config.in_channels != model.out_channels:
        raise Bundle3DError(
            f"Expected a FLUX transformer for text to image, but '{path.name}' takes {model.config.in_channels} "
            "channels where "
            f"it gives {model.out_channels}, as the Fill, Canny and Depth models do; {ADVICE}."
        )
    return fill(model, state, file, WHAT, dtype)


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return to_diffusers(state) if is_original(state) else state


def transformer_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a FLUX transformer, from the names and shapes of its tensors under diffusers' names.

    The division of heads among the axes is not in a file; it is taken to be in FLUX's proportion.
    """
    head_width = state["transformer_blocks.0.attn.norm_q.weight"].shape[0]
    config = {
        **FLUX_DEV,
        **block_config(state),
        "axes_dims_rope": rotary_axes(head_width),
    }
    if "proj_out.weight" in state:
        config["out_channels"] = state["proj_out.weight"].shape[0]
    return config


def block_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What transformer and ControlNet have in common of a configuration, from names and shapes."""
    width, channels = state["x_embedder.weight"].shape
    head_width = state["transformer_blocks.0.attn.norm_q.weight"].shape[0]
    pooled = state.get("time_text_embed.text_embedder.linear_1.weight")
    text = state.get("context_embedder.weight")
    return {
        "in_channels": channels,
        "num_layers": count_blocks(state, "transformer_blocks"),
        "num_single_layers": count_blocks(state, "single_transformer_blocks"),
        "attention_head_dim": head_width,
        "num_attention_heads": width // head_width,
        "joint_attention_dim": FLUX_DEV["joint_attention_dim"] if text is None else text.shape[1],
        "pooled_projection_dim": FLUX_DEV["pooled_projection_dim"] if pooled is None else pooled.shape[1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in state,
    }


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """How many blocks with this prefix there are, whatever their numbers."""
    return len({name.split(".")[1] for name in names if name.startswith(f"{prefix}.")})
