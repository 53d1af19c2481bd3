"""Load Bundle Models: everything that draws bundles, from a diffusers folder, a checkpoint, or single files."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import comfy
import torch
from comfy_api.latest import io

from ..pipelines.diffusion.loading.folder import Components, load_folder
from ..pipelines.diffusion.loading.lora import apply_loras, load_lora
from ..pipelines.diffusion.loading.text_encoders import (
    load_clip,
    load_clip_tokenizer,
    load_t5,
    load_t5_tokenizer,
)
from ..pipelines.diffusion.loading.transformer import load_transformer
from ..pipelines.diffusion.loading.vae import load_vae
from ..pipelines.errors import Bundle3DError
from . import model_files
from .fingerprints import states_of
from .memory import hold_network, hold_text_encoder, hold_vae, store_weights
from .model_files import DEMO, NONE
from .sockets import Models

FROM_BASE = "from base"
AS_STORED = "as stored"
DTYPES = {
    AS_STORED: None,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
# The tokenizers of CLIP-L and T5, which files of weights lack, come with ComfyUI.
COMFY = Path(comfy.__path__[0])
CLIP_TOKENIZER = COMFY / "sd1_tokenizer"
T5_TOKENIZER = COMFY / "text_encoders" / "t5_tokenizer"

PARTS = {"transformer": "diffusion_models", "clip": "text_encoders", "t5": "text_encoders", "vae": "vae"}


def dtype_input() -> Any:
    """The choice of how to store the transformer's weights."""
    return io.Combo.Input(
        "weight_dtype",
        options=list(DTYPES),
        default=AS_STORED,
        tooltip="How the transformer's weights are kept in memory. as stored: as in the file, fp8 included. fp8_e4m3fn "
        "halves what 16-bit files need, at a small loss.",
        advanced=True,
    )


class Bundle3D_LoadBundleModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadBundleModels",
            display_name="Load Bundle Models",
            category="Bundle3D/generation",
            description="Loads the FLUX models and the LoRA that draw 3D bundle images.",
            search_aliases=[
                "load flux",
                "load kiss3dgen",
                "diffusers loader",
                "checkpoint loader",
                "lora",
                "text to 3d",
            ],
            inputs=[
                io.Combo.Input(
                    "base",
                    options=[*model_files.pipelines(), *model_files.files("checkpoints"), NONE],
                    default=DEMO,
                    tooltip="What everything below comes from unless it is chosen there: the small demo family that "
                    "comes "
                    "with Bundle3D, a diffusers folder from models/diffusers, or a checkpoint with all parts from "
                    "models/checkpoints.",
                ),
                _part("transformer", "FLUX transformer"),
                _part("clip", "CLIP-L text encoder"),
                _part("t5", "T5-XXL text encoder"),
                _part("vae", "VAE"),
                io.Combo.Input(
                    "lora",
                    options=[NONE, *model_files.files("loras")],
                    default=NONE,
                    tooltip="The LoRA that makes FLUX.1-dev draw bundles, such as Kiss3DGen's "
                    "rgb_normal.safetensors. The "
                    "demo family needs none.",
                ),
                io.Float.Input(
                    "lora_strength", default=1.0, min=-4.0, max=4.0, step=0.05, tooltip="How strongly the LoRA acts."
                ),
                dtype_input(),
            ],
            outputs=[Models.Output("models", display_name="models", tooltip="The models, for Generate Bundle.")],
        )

    @classmethod
    def fingerprint_inputs(cls, base: str | None, lora: str | None, **options: Any) -> list[Any]:
        parts = [states_of(partial(_file, kind), options[id]) for id, kind in PARTS.items()]
        return [states_of(_base, base), *parts, states_of(partial(_file, "loras"), lora)]

    @classmethod
    def execute(
        cls,
        base: str,
        transformer: str,
        clip: str,
        t5: str,
        vae: str,
        lora: str,
        lora_strength: float,
        weight_dtype: str,
    ) -> io.NodeOutput:
        parts = load_parts(base, {"transformer": transformer, "clip": clip, "t5": t5, "vae": vae})
        store_weights(parts.transformer, DTYPES[weight_dtype])
        if lora != NONE and lora_strength != 0:
            state = load_lora(model_files.find("loras", lora))
            for part in ("transformer", "text_encoder", "text_encoder_2"):
                apply_loras(getattr(parts, part), [(state, lora_strength, lora)], part)
        return io.NodeOutput(parts.held(hold_network, hold_vae, hold_text_encoder))


def _part(id: str, what: str) -> Any:
    return io.Combo.Input(
        id,
        options=[FROM_BASE, *model_files.models(PARTS[id])],
        default=FROM_BASE,
        tooltip=f"The {what}: a file from models/{PARTS[id]}, or what the base has.",
    )


def _base(name: str) -> Path | None:
    return None if name == NONE else find_base(name)


def _file(kind: str, name: str) -> Path | None:
    return None if name in (FROM_BASE, NONE) else model_files.find(kind, name)


def find_base(base: str) -> Path:
    """The folder or checkpoint called ``base``."""
    return model_files.find("diffusers" if base in model_files.pipelines() else "checkpoints", base)


def load_parts(base: str, parts: dict[str, str]) -> Components:
    """The components of ``base`` with those of ``parts`` that are chosen in their place.

    Raises Bundle3DError where a part is in neither.
    """
    chosen = {id: model_files.find(PARTS[id], name) for id, name in parts.items() if name != FROM_BASE}
    if base == NONE or find_base(base).is_file():
        return _from_files({} if base == NONE else dict.fromkeys(PARTS, find_base(base)), chosen)
    components = load_folder(find_base(base))
    if "transformer" in chosen:
        components = dataclasses.replace(components, transformer=load_transformer(chosen["transformer"]))
    if "vae" in chosen:
        components = dataclasses.replace(components, vae=load_vae(chosen["vae"]))
    if "clip" in chosen:
        components = dataclasses.replace(components, text_encoder=load_clip(chosen["clip"]))
    if "t5" in chosen:
        components = dataclasses.replace(components, text_encoder_2=load_t5(chosen["t5"]))
    return components


def _from_files(checkpoint: dict[str, Path], chosen: dict[str, Path]) -> Components:
    paths = checkpoint | chosen
    for id in PARTS:
        if id not in paths:
            raise Bundle3DError(
                f"Expected a base or a file for {id}, but neither is chosen; choose one of models/{PARTS[id]}, or a "
                f"base."
            )
    text_encoder = load_clip(paths["clip"])
    return Components(
        transformer=load_transformer(paths["transformer"]),
        vae=load_vae(paths["vae"]),
        text_encoder=text_encoder,
        tokenizer=load_clip_tokenizer(CLIP_TOKENIZER, text_encoder),
        text_encoder_2=load_t5(paths["t5"]),
        tokenizer_2=load_t5_tokenizer(T5_TOKENIZER),
        scheduler={},
    )


NODES = [Bundle3D_LoadBundleModels]
