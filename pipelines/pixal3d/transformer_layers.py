"""Layers that the flow transformers of both variants have in common.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md section 3.1.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

NORM_EPS = 1e-6  # of the blocks' norms; the last one of a transformer has torch's default of 1e-5
TIME_CHANNELS = 256
TIME_SCALE = 1000.0
LONGEST_PERIOD = 10000.0
ROWS = 8192  # voxels that the MLPs take at once


class TimeEmbedder(nn.Module):
    """Times (B,) as vectors (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, times: torch.Tensor) -> torch.Tensor:
        half = TIME_CHANNELS // 2
        powers = torch.arange(half, dtype=times.dtype, device=times.device) / half
        angles = times[:, None] * torch.exp(-math.log(LONGEST_PERIOD) * powers)
        embedded: torch.Tensor = self.mlp(torch.cat((angles.cos(), angles.sin()), dim=-1))
        return embedded


class HeadNorm(nn.Module):
    """Each head's vector at a length of its own, in float32."""

    def __init__(self, heads: int, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(heads, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (functional.normalize(wide, dim=-1) * self.gamma.to(wide) * x.shape[-1] ** 0.5).to(x.dtype)


class Mlp(nn.Module):
    """Two layers for tokens (N, width), some at a time."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.mlp(some) for some in tokens.split(ROWS)])
