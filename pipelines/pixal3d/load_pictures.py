"""The networks that see pictures, from the files that users have: DINOv3 and NAF, each alone or both in one file.

Source: specs/pixal3d.md sections 0.3, 2.4, 2.5 and 8.1.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..checkpoints.safe_load import read_header, read_state_dict
from ..diffusion.loading.assemble import expected_shapes, fill, without_memory
from ..diffusion.loading.source import read_folder_state, read_json
from ..errors import Bundle3DError
from .feature_upsampler import FeatureUpsampler, UpsamplerConfig
from .image_encoder import HEAD_WIDTH, ImageEncoderConfig, image_encoder

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel

State = dict[str, torch.Tensor]
ENCODER, UPSAMPLER = "a DINOv3 image encoder", "NAF"
UPSAMPLER_PREFIX = "naf."  # in ComfyUI's file of both
LAST_NORM = ("norm.weight", "norm.bias")  # which Pixal3D does without
# timm's names and transformers', of a layer.
OF_TIMM = {
    "norm1.": "norm1.", "attn.proj.": "attention.o_proj.", "gamma_1": "layer_scale1.lambda1", "norm2.": "norm2.",
    "mlp.fc1.": "mlp.up_proj.", "mlp.fc2.": "mlp.down_proj.", "gamma_2": "layer_scale2.lambda1",
}  # fmt: skip
OF_TIMM_BEFORE = {
    "patch_embed.proj.": "embeddings.patch_embeddings.",
    "cls_token": "embeddings.cls_token",
    "reg_token": "embeddings.register_tokens",
}


def load_image_encoder(path: Path, dtype: torch.dtype | None = None) -> DINOv3ViTModel:
    """DINOv3 in transformers' folder, or in a file of transformers, timm or ComfyUI; on the CPU, ready to compute.

    It computes in ``dtype``, or in the file's type. Raises Bundle3DError, naming the file, where the file holds another
    model, or a tensor is missing, too many or of the wrong shape.
    """
    path = Path(path)
    state, file = read_folder_state(path) if path.is_dir() else (read_state_dict(path), path)
    heads = read_json(path / "config.json").get("num_attention_heads") if path.is_dir() else None
    state = {name: tensor for name, tensor in state.items() if not name.startswith(UPSAMPLER_PREFIX)}
    if "blocks.0.attn.qkv.weight" in state:
        state = _from_timm(state)
    state = {
        name.removeprefix("model."): tensor
        for name, tensor in state.items()
        if name.removeprefix("model.") not in LAST_NORM
    }
    if "embeddings.cls_token" in state:
        state.setdefault("embeddings.mask_token", torch.zeros_like(state["embeddings.cls_token"]))
    config = _encoder_config(state, heads, file)
    network = without_memory(lambda: image_encoder(config), file, ENCODER)
    if any(name.startswith("model.layer.") for name in expected_shapes(network)):
        state = {re.sub(r"^layer\.", "model.layer.", name): tensor for name, tensor in state.items()}
    return fill(network, state, file, ENCODER, dtype)


def load_feature_upsampler(path: Path, dtype: torch.dtype | None = None) -> FeatureUpsampler:
    """NAF from its file, or from ComfyUI's file of DINOv3 and NAF; on the CPU, computing in ``dtype`` or float32.

    Raises as `load_image_encoder`.
    """
    path = Path(path)
    state = read_state_dict(path)
    own = {
        name.removeprefix(UPSAMPLER_PREFIX): value for name, value in state.items() if name.startswith(UPSAMPLER_PREFIX)
    }
    state = own or state
    try:
        config = UpsamplerConfig(
            width=state["image_encoder.encoder.0.weight"].shape[0],
            blocks=len({name.split(".")[2] for name in state if name.startswith("image_encoder.encoder.")}) - 1,
            periods=state["image_encoder.rope.periods"].shape[0],
        )
    except (LookupError, ValueError) as error:
        raise _not_one(UPSAMPLER, path, error, "naf_release.pth") from error
    network = without_memory(lambda: FeatureUpsampler(config), path, UPSAMPLER)
    return fill(network, state, path, UPSAMPLER, dtype or torch.float32, casting=False)


def holds_upsampler(path: Path) -> bool:
    """Whether the file of an image encoder holds NAF too, as ComfyUI's does."""
    return path.is_file() and any(name.startswith(UPSAMPLER_PREFIX) for name in read_header(path))


def _from_timm(state: State) -> State:
    """timm's tensors by transformers' names; queries, keys and values are one matrix there, without a bias."""
    renamed: State = {}
    for name, tensor in state.items():
        found = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
        if found is None:
            start = next((start for start in OF_TIMM_BEFORE if name.startswith(start)), None)
            renamed[name if start is None else OF_TIMM_BEFORE[start] + name.removeprefix(start)] = tensor
            continue
        layer, own = f"layer.{found[1]}", found[2]
        if own in ("attn.qkv.weight", "attn.qkv.bias"):
            for part, rows in zip("qkv", tensor.chunk(3)):
                if (part, own) != ("k", "attn.qkv.bias"):  # keys have none: it would change nothing
                    renamed[f"{layer}.attention.{part}_proj.{own.rpartition('.')[2]}"] = rows
            continue
        start = next((start for start in OF_TIMM if own.startswith(start)), None)
        renamed[name if start is None else f"{layer}.{OF_TIMM[start]}{own.removeprefix(start)}"] = tensor
    for name in [name for name in renamed if name.endswith((".q_proj.weight", ".v_proj.weight"))]:
        renamed.setdefault(name.removesuffix("weight") + "bias", renamed[name].new_zeros(renamed[name].shape[0]))
    return renamed


def _encoder_config(state: State, heads: int | None, file: Path) -> ImageEncoderConfig:
    try:
        width = state["embeddings.cls_token"].shape[-1]
        return ImageEncoderConfig(
            patch_size=state["embeddings.patch_embeddings.weight"].shape[-1],
            width=width,
            hidden=state["layer.0.mlp.up_proj.weight"].shape[0],
            layers=len({name.split(".")[1] for name in state if name.startswith("layer.")}),
            heads=int(heads or max(width // HEAD_WIDTH, 1)),
            registers=state["embeddings.register_tokens"].shape[1],
        )
    except (LookupError, TypeError, ValueError) as error:
        raise _not_one(ENCODER, file, error, "that of DINOv3 ViT-L/16") from error


def _not_one(what: str, path: Path, error: Exception, advice: str) -> Bundle3DError:
    why = f"there is no tensor {error}" if isinstance(error, KeyError) else str(error)
    return Bundle3DError(f"Expected {what} in '{path.name}', but cannot tell its dimensions ({why}); choose {advice}.")
