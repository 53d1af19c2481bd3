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

LIVE_MAPS = 40  # upper estimate of tensors of (tokens, width) that exist at once, rotary embedding in float32 included


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
    """The direction from picture to noise at level ``sigma``: (1, C, H, W) float32 for (1, C, H, W) latents."""
    inputs = network_inputs(transformer, latents, sigma, conditioning)
    if residuals is not None:
        inputs["controlnet_block_samples"] = residuals.double
        inputs["controlnet_single_block_samples"] = residuals.single
    device = transformer.compute_device
    with (
        transformer.use(activation_bytes(transformer, inputs)) as module,
        attention(device),
        scaled_loras(module, lora_scale),
    ):
        output = module(**inputs, return_dict=False)[0]
    return unpack(output.to(latents.device, torch.float32), latents.shape[-2] // 2, latents.shape[-1] // 2)


def network_inputs(network: Holder, latents: torch.Tensor, sigma: float, conditioning: Conditioning) -> dict[str, Any]:
    """What a FLUX transformer and a FLUX ControlNet both take, where and in the type that ``network`` computes."""
    device, dtype = network.compute_device, network.compute_dtype
    text = conditioning.text.to(device, dtype)
    inputs = {
        "hidden_states": pack(latents).to(device, dtype),
        "encoder_hidden_states": text,
        "pooled_projections": conditioning.pooled.to(device, dtype),
        "timestep": timestep(sigma, device, dtype),
        "img_ids": image_ids(latents.shape[-2] // 2, latents.shape[-1] // 2, device),
        "txt_ids": text_ids(text.shape[1], device),
    }
    if network.module.config.guidance_embeds:
        inputs["guidance"] = torch.full([1], conditioning.guidance, device=device)
    return inputs


def timestep(sigma: float, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The (1,) time that FLUX networks get for level ``sigma``; diffusers' pipelines round 1000 times the level."""
    return torch.tensor([sigma * TRAINING_STEPS], dtype=torch.float32).to(device, dtype) / TRAINING_STEPS


def activation_bytes(network: Holder, inputs: dict[str, Any]) -> int:
    """About how much memory one evaluation takes beside the weights, attention being memory-efficient."""
    tokens = inputs["hidden_states"].shape[1] + inputs["encoder_hidden_states"].shape[1]
    config = network.module.config
    width = config.num_attention_heads * config.attention_head_dim
    return int(LIVE_MAPS * tokens * width * network.compute_dtype.itemsize)
