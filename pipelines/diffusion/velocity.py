"""One evaluation of the FLUX transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .attention import attention
from .holder import Holder
from .latents import image_ids, pack, text_ids, unpack
from .loras import scaled_loras
from .schedule import TRAINING_STEPS

LIVE_MAPS = 24  # upper estimate of a block's tensors of (tokens, width) that exist at once


@dataclass(frozen=True)
class Conditioning:
    """What the picture shall show: text (1, L, D), pooled text (1, P), and how strongly the guidance follows it."""

    text: torch.Tensor
    pooled: torch.Tensor
    guidance: float


@dataclass(frozen=True)
class Residuals:
    """What ControlNets add after each block of the transformer: one (1, N, D) tensor per block, or none."""

    double: Sequence[torch.Tensor] | None = None
    single: Sequence[torch.Tensor] | None = None


def velocity(
    transformer: Holder,
    latents: torch.Tensor,
    sigma: float,
    conditioning: Conditioning,
    residuals: Residuals | None = None,
    lora_scale: float = 1.0,
) -> torch.Tensor:
    """The direction from picture to noise at level ``sigma``: (1, C, H, W) float32 for (1, C, H, W) latents.

    The level goes through the compute type times 1000 first, as diffusers' pipelines send it.
    """
    device, dtype = transformer.compute_device, transformer.compute_dtype
    rows, columns = latents.shape[-2] // 2, latents.shape[-1] // 2
    text = conditioning.text.to(device, dtype)
    inputs: dict[str, Any] = {
        "hidden_states": pack(latents).to(device, dtype),
        "encoder_hidden_states": text,
        "pooled_projections": conditioning.pooled.to(device, dtype),
        "timestep": timestep(sigma, device, dtype),
        "img_ids": image_ids(rows, columns, device),
        "txt_ids": text_ids(text.shape[1], device),
    }
    if residuals is not None:
        inputs["controlnet_block_samples"] = residuals.double
        inputs["controlnet_single_block_samples"] = residuals.single
    config = transformer.module.config
    if config.guidance_embeds:
        inputs["guidance"] = torch.full([1], conditioning.guidance, device=device)
    memory = activation_bytes(
        rows * columns + text.shape[1], config.num_attention_heads * config.attention_head_dim, dtype
    )
    with transformer.use(memory) as module, attention(device), scaled_loras(module, lora_scale):
        output = module(**inputs, return_dict=False)[0]
    return unpack(output.to(latents.device, torch.float32), rows, columns)


def timestep(sigma: float, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The (1,) time that FLUX networks get for noise level ``sigma``."""
    return torch.tensor([sigma * TRAINING_STEPS], dtype=torch.float32).to(device, dtype) / TRAINING_STEPS


def activation_bytes(tokens: int, width: int, dtype: torch.dtype) -> int:
    """About how much memory one evaluation takes beside the weights, attention being memory-efficient."""
    return LIVE_MAPS * tokens * width * dtype.itemsize
