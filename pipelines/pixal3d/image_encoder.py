"""What DINOv3 sees in pictures: a few tokens for the whole and a map of features.

The network is that of transformers; its own last norm is exchanged for one without weights, which Pixal3D was trained
with. Source: specs/pixal3d.md section 2.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..diffusion.holder import Holder
from ..errors import Bundle3DError

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEAD_WIDTH = 64
ROPE_THETA = 100.0


@dataclass(frozen=True)
class ImageEncoderConfig:
    """A DINOv3 vision transformer; the defaults are those of ViT-L/16."""

    patch_size: int = 16
    width: int = 1024
    hidden: int = 4096
    layers: int = 24
    heads: int = 16
    registers: int = 4


def image_encoder(config: ImageEncoderConfig) -> DINOv3ViTModel:
    """The network with new weights; raises Bundle3DError where the installed transformers has none."""
    try:
        from transformers import DINOv3ViTConfig, DINOv3ViTModel
    except ImportError as error:
        raise Bundle3DError(
            "Expected transformers 4.56 or newer for the image encoder DINOv3, but the installed one has none; upgrade "
            "it with 'pip install -U transformers'."
        ) from error
    settings: Any = DINOv3ViTConfig(
        patch_size=config.patch_size,
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_register_tokens=config.registers,
        rope_theta=ROPE_THETA,
    )
    network = DINOv3ViTModel(settings)
    network.norm = nn.LayerNorm(config.width, elementwise_affine=False)
    # Counted anew, because files do not hold it and a network may have been built without numbers.
    quarter = config.width // config.heads // 4
    powers = torch.arange(quarter, dtype=torch.float32, device="cpu") / quarter
    network.rope_embeddings.inv_freq = ROPE_THETA**-powers
    return network


@dataclass(frozen=True)
class PictureFeatures:
    """Of V pictures: ``tokens`` (V, K, C) for each as a whole and ``patches`` (V, C, n, n), float32."""

    tokens: torch.Tensor
    patches: torch.Tensor


@torch.no_grad()
def encode_pictures(encoder: Holder, pictures: torch.Tensor) -> PictureFeatures:
    """What is seen in ``pictures`` (V, 3, S, S) in [0, 1], which are encoded one by one.

    Raises Bundle3DError unless they are square with a side of whole patches.
    """
    patch = int(encoder.module.config.patch_size)
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.shape[-1] != pictures.shape[-2]:
        raise Bundle3DError(
            f"Expected square pictures of shape (V, 3, S, S), but got {tuple(pictures.shape)}; crop them to the object."
        )
    if pictures.shape[-1] % patch:
        raise Bundle3DError(
            f"Expected pictures with a side that is a multiple of {patch}, but got {pictures.shape[-1]}; resize them."
        )
    side = pictures.shape[-1] // patch
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    tokens, patches = [], []
    for picture in pictures:
        normalised = ((picture.float().cpu() - mean) / std)[None]
        with encoder.use(activation_bytes(encoder, side)) as network:
            seen = network(normalised.to(encoder.compute_device, encoder.compute_dtype)).last_hidden_state.float()
        whole, each = seen.tensor_split([seen.shape[1] - side * side], dim=1)
        tokens.append(whole)
        patches.append(each.transpose(1, 2).unflatten(-1, (side, side)))
    return PictureFeatures(torch.cat(tokens), torch.cat(patches))


def activation_bytes(encoder: Holder, side: int) -> int:
    """About what encoding a picture of ``side`` x ``side`` patches needs beside the weights."""
    config = encoder.module.config
    return int((side * side + 8) * (config.intermediate_size + 8 * config.hidden_size) * encoder.compute_dtype.itemsize)
