"""How LoRA files name their layers, and which layers of diffusers and transformers they mean.

kohya's trainers join the original or diffusers' names with underscores behind ``lora_unet_`` or ``lora_transformer_``
(text encoders: ``lora_te1_`` for CLIP, ``lora_te3_`` or ``lora_te2_`` for T5); PEFT's files keep the dots behind
``transformer.``, ``diffusion_model.`` or ``base_model.model.``.
"""

from __future__ import annotations

import re

from .transformer_keys import DOUBLE_BLOCK, OUTSIDE_BLOCKS, SINGLE_BLOCK, diffusers_layers

# How a layer's two matrices and its alpha are called.
KINDS = {
    "lora_A.weight": "A",
    "lora_B.weight": "B",
    "lora_A.default.weight": "A",
    "lora_B.default.weight": "B",
    "lora_down.weight": "A",
    "lora_up.weight": "B",
    "lora.down.weight": "A",
    "lora.up.weight": "B",
    "alpha": "alpha",
}
TRANSFORMER_PREFIXES = ("base_model.model.", "transformer.", "diffusion_model.", "model.diffusion_model.", "unet.")
CLIP_LAYER = re.compile(r"text_model_encoder_layers_(\d+)_(self_attn|mlp)_(q_proj|k_proj|v_proj|out_proj|fc1|fc2)")
T5_LAYER = re.compile(r"encoder_block_(\d+)_layer_(\d)_(SelfAttention|DenseReluDense)_(q|k|v|o|wi_0|wi_1|wo)")
ORIGINAL_BLOCK = re.compile(r"(double_blocks|single_blocks)_(\d+)_(.+)")
DIFFUSERS_BLOCK = re.compile(r"(single_transformer_blocks|transformer_blocks)_(\d+)_(.+)")


def _joined(names: tuple[str, ...]) -> dict[str, str]:
    return {name.replace(".", "_"): name for name in names}


ORIGINAL_IN_BLOCKS = {"double_blocks": _joined(tuple(DOUBLE_BLOCK)), "single_blocks": _joined(tuple(SINGLE_BLOCK))}
DIFFUSERS_IN_BLOCKS = {
    "transformer_blocks": _joined(tuple(layer for layers in DOUBLE_BLOCK.values() for layer in layers)),
    "single_transformer_blocks": _joined(tuple(layer for layers in SINGLE_BLOCK.values() for layer in layers)),
}
OUTSIDE = _joined((*OUTSIDE_BLOCKS, *(layer for layers in OUTSIDE_BLOCKS.values() for layer in layers)))


def split_name(name: str) -> tuple[str, str] | None:
    """The layer and the kind (A, B or alpha) of a LoRA file's tensor; None for a name of another kind of adapter."""
    for ending, kind in KINDS.items():
        if name.endswith(f".{ending}"):
            return name.removesuffix(f".{ending}"), kind
    return None


def locate(layer: str) -> tuple[str, str] | None:
    """The part (transformer, text_encoder or text_encoder_2) and the layer in it that a LoRA file's layer name means.

    Layers of the transformer come under their original or diffusers' name, whichever the file uses. None for other
    models' layers.
    """
    match = re.fullmatch(r"(lora_unet|lora_transformer|lycoris|lora_te\d?)_(.+)", layer)
    if match is not None:
        return _locate_joined(match[1], match[2])
    for part in ("text_encoder_2", "text_encoder"):
        if layer.startswith(f"{part}."):
            return part, layer.removeprefix(f"{part}.")
    for prefix in TRANSFORMER_PREFIXES:
        layer = layer.removeprefix(prefix)
    known = diffusers_layers(layer) or layer in OUTSIDE.values() or _is_diffusers_layer(layer)
    return ("transformer", layer) if known else None


def _locate_joined(prefix: str, joined: str) -> tuple[str, str] | None:
    if prefix.startswith("lora_te"):
        clip, t5 = CLIP_LAYER.fullmatch(joined), T5_LAYER.fullmatch(joined)
        if clip is not None:
            return "text_encoder", f"text_model.encoder.layers.{clip[1]}.{clip[2]}.{clip[3]}"
        if t5 is not None:
            return "text_encoder_2", f"encoder.block.{t5[1]}.layer.{t5[2]}.{t5[3]}.{t5[4]}"
        return None
    if joined in OUTSIDE:
        return "transformer", OUTSIDE[joined]
    for pattern, table in ((ORIGINAL_BLOCK, ORIGINAL_IN_BLOCKS), (DIFFUSERS_BLOCK, DIFFUSERS_IN_BLOCKS)):
        match = pattern.fullmatch(joined)
        if match is not None and match[3] in table[match[1]]:
            return "transformer", f"{match[1]}.{match[2]}.{table[match[1]][match[3]]}"
    return None


def _is_diffusers_layer(layer: str) -> bool:
    match = re.fullmatch(r"(single_transformer_blocks|transformer_blocks)\.\d+\.(.+)", layer)
    return match is not None and match[2] in DIFFUSERS_IN_BLOCKS[match[1]].values()
