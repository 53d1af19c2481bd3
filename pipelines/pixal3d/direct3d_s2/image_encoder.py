"""What sees the picture: DINOv2 ViT-L/14 with registers, from the files that users have.

The network is that of transformers; its own last norm is exchanged for one without weights, which Pixal3D was trained
with. Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...checkpoints.safe_load import read_state_dict
from ...diffusion.loading.assemble import expected_shapes, fill, without_memory
from ...diffusion.loading.source import read_folder_state
from ...errors import Bundle3DError

if TYPE_CHECKING:
    from transformers import Dinov2WithRegistersModel

State = dict[str, torch.Tensor]
ENCODER = "a DINOv2 image encoder with registers"
HEAD_WIDTH = 64
MLP_RATIO = 4
LAST_NORM = ("layernorm.weight", "layernorm.bias")  # which Pixal3D does without
# The names of DINOv2's own files and transformers', before the layers and in a layer.
BEFORE = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "register_tokens": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": LAST_NORM[0],
    "norm.bias": LAST_NORM[1],
}
IN_LAYER = {"attn.proj.": "attention.o_proj.", "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
# The names of a layer's attention in transformers before its version 5, in which its files still are, and after.
ATTENTION = {
    "attention.attention.query.": "attention.q_proj.",
    "attention.attention.key.": "attention.k_proj.",
    "attention.attention.value.": "attention.v_proj.",
    "attention.output.dense.": "attention.o_proj.",
}


@dataclass(frozen=True)
class ImageEncoderConfig:
    """A DINOv2 vision transformer with registers; the defaults are those of ViT-L/14. ``size``: of its pictures."""

    size: int = 518
    patch_size: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    registers: int = 4


def image_encoder(config: ImageEncoderConfig) -> Dinov2WithRegistersModel:
    """The network with new weights."""
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    settings: dict[str, Any] = {
        "image_size": config.size,
        "patch_size": config.patch_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_register_tokens": config.registers,
        "mlp_ratio": MLP_RATIO,
        "intermediate_size": MLP_RATIO * config.width,  # by which both variants' encoders tell what they need
    }
    network = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**settings))
    network.layernorm = nn.LayerNorm(config.width, elementwise_affine=False)
    return network


def load_image_encoder(path: Path, dtype: torch.dtype | None = None) -> Dinov2WithRegistersModel:
    """DINOv2 in transformers' folder or file, or in the file of its authors; on the CPU, ready to compute.

    It computes in ``dtype``, or in the file's type. Raises Bundle3DError, naming the file, where the file holds another
    model, or a tensor is missing, too many or of the wrong shape.
    """
    path = Path(path)
    state, file = read_folder_state(path) if path.is_dir() else (read_state_dict(path), path)
    state = {name.removeprefix("dinov2_with_registers."): tensor for name, tensor in state.items()}
    state = _renamed(_of_authors(state) if "blocks.0.attn.qkv.weight" in state else state, ATTENTION)
    state = {name: tensor for name, tensor in state.items() if name not in LAST_NORM}
    try:
        config = _config(state)
    except (LookupError, TypeError, ValueError) as error:
        why = f"there is no tensor {error}" if isinstance(error, KeyError) else str(error)
        raise Bundle3DError(
            f"Expected {ENCODER} in '{file.name}', but cannot tell its dimensions ({why}); choose that of "
            "facebook/dinov2-with-registers-large."
        ) from error
    network = without_memory(lambda: image_encoder(config), file, ENCODER)
    if any("attention.attention.query" in name for name in expected_shapes(network)):
        state = _renamed(state, {new: old for old, new in ATTENTION.items()})
    return fill(network, state, file, ENCODER, dtype)


def _config(state: State) -> ImageEncoderConfig:
    width = state["embeddings.cls_token"].shape[-1]
    patch_size = state["embeddings.patch_embeddings.projection.weight"].shape[-1]
    patches = state["embeddings.position_embeddings"].shape[1] - 1
    side = round(patches**0.5)
    if side**2 != patches:
        raise ValueError(f"places of {patches} patches, which are no square")
    return ImageEncoderConfig(
        size=side * patch_size,
        patch_size=patch_size,
        width=width,
        layers=len({name.split(".")[2] for name in state if name.startswith("encoder.layer.")}),
        heads=max(width // HEAD_WIDTH, 1),
        registers=state["embeddings.register_tokens"].shape[1],
    )


def _of_authors(state: State) -> State:
    """The authors' tensors by transformers' names; queries, keys and values are one matrix there."""
    renamed: State = {}
    for name, tensor in state.items():
        found = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if found is None:
            renamed[BEFORE.get(name, name)] = tensor
            continue
        layer, own = f"encoder.layer.{found[1]}", found[2]
        if own.startswith("attn.qkv."):
            for part, rows in zip("qkv", tensor.chunk(3)):
                renamed[f"{layer}.attention.{part}_proj.{own.rpartition('.')[2]}"] = rows
            continue
        start = next((start for start in IN_LAYER if own.startswith(start)), None)
        renamed[f"{layer}.{own if start is None else IN_LAYER[start] + own.removeprefix(start)}"] = tensor
    return renamed


def _renamed(state: State, names: dict[str, str]) -> State:
    renamed: State = {}
    for name, tensor in state.items():
        for before, after in names.items():
            name = name.replace(before, after)
        renamed[name] = tensor
    return renamed
