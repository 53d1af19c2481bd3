"""Features of a picture at its own resolution: NAF, which mixes those of nearby patches as the picture's colours say.

Modules are named so that their tensors carry the names of the published checkpoint. Sources: specs/pixal3d.md section
2.5; NAF (Apache-2.0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from .window_attention import attend_at, attend_everywhere

GROUPS = 8
LONGEST_PERIOD = 100.0


@dataclass(frozen=True)
class UpsamplerConfig:
    """The defaults are the published ones; ``width`` is that of each of two stacks, ``periods`` a quarter of a head."""

    width: int = 128
    blocks: int = 2
    periods: int = 16

    def __post_init__(self) -> None:
        if self.width % GROUPS or 2 * self.width % (4 * self.periods) or self.blocks < 1:
            raise ValueError(f"a width of {self.width} does not split into heads of {4 * self.periods} channels")

    @property
    def heads(self) -> int:
        """Of queries, keys and values."""
        return 2 * self.width // (4 * self.periods)


class FeatureUpsampler(nn.Module):
    """Makes queries of a picture; `UpsampledFeatures` is what they make of its features."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = _ImageEncoder(config)

    def forward(self, picture: torch.Tensor, patches: torch.Tensor, size: int) -> UpsampledFeatures:
        """The features ``patches`` (C, n, n) of ``picture`` (3, S, S) in [0, 1], at ``size`` pixels a side."""
        queries = self.image_encoder(picture[None], size)
        keys = functional.adaptive_avg_pool2d(queries, patches.shape[-1])
        return UpsampledFeatures(queries[0], keys[0], patches.to(queries), self.config.heads)


@dataclass(frozen=True)
class UpsampledFeatures:
    """A map (C, T, T) that is computed only where it is read: ``queries`` (Q, T, T) see nearby ``values`` (C, n, n) by
    their ``keys`` (Q, n, n).
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    heads: int

    def everywhere(self) -> torch.Tensor:
        """(C, T, T), which is large."""
        return attend_everywhere(self.queries, self.keys, self.values, self.heads)

    def __call__(self, coordinates: torch.Tensor) -> torch.Tensor:
        """(N, C) samples, each of four pixels, at ``coordinates`` (N, 2): x and y from -1 to 1 across the map.

        Beyond the centres of the outermost pixels the map continues as it is there.
        """
        size = self.queries.shape[-1]
        places = (((coordinates.float() + 1.0) * size - 1.0) / 2.0).clamp(0.0, size - 1.0)
        corner = places.floor()
        right, low = (places - corner).unbind(-1)
        across, down = corner.long().unbind(-1)
        weights = torch.stack(((1 - right) * (1 - low), right * (1 - low), (1 - right) * low, right * low), dim=1)
        pixels = torch.stack(
            [
                (down + below).clamp(max=size - 1) * size + (across + beside).clamp(max=size - 1)
                for below in (0, 1)
                for beside in (0, 1)
            ],
            dim=1,
        )
        wanted, taps = torch.unique(pixels, return_inverse=True)
        rows = attend_at(self.queries, wanted, self.keys, self.values, self.heads)
        return functional.embedding_bag(taps, rows, mode="sum", per_sample_weights=weights.to(rows))


def activation_bytes(config: UpsamplerConfig, picture_size: int, size: int, dtype: torch.dtype) -> int:
    """About what making queries of a picture needs beside the weights: first its convolutions, then turning them."""
    return max(7 * picture_size**2, 8 * size**2) * config.width * dtype.itemsize


class _ImageEncoder(nn.Module):
    """Two stacks of convolutions, one of single pixels and one of neighbourhoods, side by side."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.encoder, self.sem_encoder = _stack(config, 1), _stack(config, 3)
        self.rope = _Rope(config)

    def forward(self, picture: torch.Tensor, size: int) -> torch.Tensor:
        """Queries (1, 2 * width, size, size) of ``picture`` (1, 3, S, S)."""
        seen = torch.cat([stack(picture) for stack in (self.encoder, self.sem_encoder)], dim=1)
        if seen.shape[-1] != size:
            seen = functional.adaptive_avg_pool2d(seen, size)
        queries: torch.Tensor = self.rope(seen)
        return queries


def _stack(config: UpsamplerConfig, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(3, config.width, kernel), *(_Block(config.width, kernel) for _ in range(config.blocks))
    )


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect")


class _Block(nn.Module):
    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(GROUPS, width), nn.GroupNorm(GROUPS, width)
        self.conv1, self.conv2 = _convolution(width, width, kernel), _convolution(width, width, kernel)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        out: torch.Tensor = self.conv2(functional.silu(self.norm2(hidden)))
        return out


class _Rope(nn.Module):
    """Each head's halves turned against each other by where the pixel is, first down, then across."""

    periods: torch.Tensor

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.register_buffer("periods", LONGEST_PERIOD ** (torch.arange(config.periods) / config.periods))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of a square map (1, C, T, T)."""
        size = x.shape[-1]
        centres = 2.0 * (torch.arange(size, device=x.device) + 0.5) / size - 1.0
        angles = 2.0 * math.pi * centres[None, :] / self.periods.float()[:, None]
        angles = torch.cat((angles[:, :, None].expand(-1, -1, size), angles[:, None, :].expand(-1, size, -1)))
        cosine, sine = angles.cos().to(x), angles.sin().to(x)
        first, second = x.unflatten(1, (self.heads, 2, -1)).unbind(2)
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.stack(turned, dim=2).flatten(1, 3)
