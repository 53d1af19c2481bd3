"""The sRGB transfer function (IEC 61966-2-1), both ways."""

from __future__ import annotations

import torch


def srgb_to_linear(color: torch.Tensor) -> torch.Tensor:
    """Linear light of sRGB values in [0, 1]; any shape, differentiable."""
    return torch.where(color <= 0.04045, color / 12.92, ((color.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(color: torch.Tensor) -> torch.Tensor:
    """sRGB values of linear light, clamped to [0, 1]; any shape, differentiable inside."""
    color = color.clamp(0.0, 1.0)
    return torch.where(color <= 0.0031308, color * 12.92, 1.055 * color.clamp(min=0.0031308) ** (1.0 / 2.4) - 0.055)
