"""Two namings of FLUX's transformer: Black Forest Labs' own, which ComfyUI keeps, and that of diffusers.

The original fuses query, key and value (and in single blocks the first feed-forward layer) into one linear layer;
diffusers keeps them apart. Weights, biases and LoRAs all follow the same table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

# Each original linear layer, and the layers of diffusers that its rows are, in order.
OUTSIDE_BLOCKS: dict[str, tuple[str, ...]] = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "final_layer.linear": ("proj_out",),
}
DOUBLE_BLOCK: dict[str, tuple[str, ...]] = {
    "img_mod.lin": ("norm1.linear",),
    "txt_mod.lin": ("norm1_context.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "img_attn.proj": ("attn.to_out.0",),
    "txt_attn.proj": ("attn.to_add_out",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
SINGLE_BLOCK: dict[str, tuple[str, ...]] = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
DOUBLE_NORMS = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
}
SINGLE_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}
BLOCKS = (
    (re.compile(r"double_blocks\.(\d+)\.(.+)"), "transformer_blocks", DOUBLE_BLOCK, DOUBLE_NORMS),
    (re.compile(r"single_blocks\.(\d+)\.(.+)"), "single_transformer_blocks", SINGLE_BLOCK, SINGLE_NORMS),
)
SHIFT_BEFORE_SCALE = "final_layer.adaLN_modulation.1"  # diffusers has its two halves the other way round


def diffusers_layers(original: str) -> tuple[str, ...]:
    """The layers of diffusers that the original linear layer or norm is; empty where FLUX has no such layer."""
    if original in OUTSIDE_BLOCKS:
        return OUTSIDE_BLOCKS[original]
    for pattern, blocks, linears, norms in BLOCKS:
        match = pattern.fullmatch(original)
        if match is not None:
            names = linears.get(match[2]) or tuple(filter(None, (norms.get(match[2]),)))
            return tuple(f"{blocks}.{match[1]}.{name}" for name in names)
    return ()


def split_rows(tensor: torch.Tensor, original: str, width: int) -> list[torch.Tensor]:
    """The rows of a tensor of an original layer for each of diffusers' layers, as views.

    ``width`` is the network's; all parts have as many rows but the last, which has what is left. Empty where nothing is
    left.
    """
    parts = len(diffusers_layers(original))
    if original == SHIFT_BEFORE_SCALE:
        shift, scale = tensor.chunk(2)
        return [torch.cat([scale, shift])]
    if parts == 1:
        return [tensor]
    rest = tensor.shape[0] - width * (parts - 1)
    return list(tensor.split([width] * (parts - 1) + [rest])) if rest > 0 else []


def is_original(names: Iterable[str]) -> bool:
    """Whether the names of a FLUX transformer's tensors are Black Forest Labs'."""
    return any(name.startswith(("double_blocks.", "single_blocks.")) for name in names)


def to_diffusers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A FLUX transformer's tensors under diffusers' names, without copies but for the last modulation.

    Names that FLUX does not have, and tensors that have too few rows, stay as they are, so that a strict check reports
    them.
    """
    width = state["img_in.weight"].shape[0] if "img_in.weight" in state else 0
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        layer, _, kind = name.rpartition(".")
        targets = diffusers_layers(layer)
        if tensor.ndim == 0 or tensor.shape[0] == 1:
            parts = [tensor] * len(targets)  # one number for all rows: the scale of a quantised weight
        else:
            parts = split_rows(tensor, layer, width) if targets else []
        kind = "weight" if kind == "scale" else kind
        renamed.update({f"{target}.{kind}": part for target, part in zip(targets, parts)} or {name: tensor})
    return renamed
