"""From the dense latents of the structure to the occupancy of a finer lattice.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md section 3.2.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..errors import Bundle3DError
from .config import StructureDecoderConfig

PAIR = 2  # voxels along each axis for one


class StructureDecoder(nn.Module):
    """Dense convolutions that double the lattice between levels."""

    def __init__(self, config: StructureDecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.input_layer = _convolution(config.latent_channels, channels[0])
        self.middle_block = nn.ModuleList(_ResidualBlock(channels[0]) for _ in range(config.middle_blocks))
        blocks: list[nn.Module] = []
        for level, own in enumerate(channels):
            blocks += [_ResidualBlock(own) for _ in range(config.blocks)]
            if level + 1 < len(channels):
                blocks.append(_Doubling(own, channels[level + 1]))
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Sequential(
            _ChannelNorm(channels[-1]), nn.SiLU(), _convolution(channels[-1], config.out_channels)
        )

    @property
    def factor(self) -> int:
        """How many times finer the lattice of the result is than that of the latents."""
        return int(PAIR ** (len(self.config.channels) - 1))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Logits (B, out, f R, f R, f R) of ``latents`` (B, C, R, R, R), axes x, y, z; above zero is occupied.

        Raises Bundle3DError for other shapes.
        """
        if latents.ndim != 5 or latents.shape[1] != self.config.latent_channels:
            raise Bundle3DError(
                f"Expected latents of a structure of shape (B, {self.config.latent_channels}, R, R, R), but got "
                f"{tuple(latents.shape)}; use those of Sample Structure."
            )
        hidden = self.input_layer(latents)
        for block in (*self.middle_block, *self.blocks):
            hidden = block(hidden)
        logits: torch.Tensor = self.out_layer(hidden)
        return logits


def _convolution(inputs: int, outputs: int) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, kernel_size=3, padding=1)


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _ChannelNorm(channels), _ChannelNorm(channels)
        self.conv1, self.conv2 = _convolution(channels, channels), _convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.conv1(functional.silu(self.norm1(x)))
        out: torch.Tensor = self.conv2(functional.silu(self.norm2(hidden))) + x
        return out


class _Doubling(nn.Module):
    """A convolution that makes eight voxels of one; of its channels, x varies slowest among the eight, then y, z."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = _convolution(inputs, outputs * PAIR**3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        split = self.conv(x).unflatten(1, (-1, PAIR, PAIR, PAIR))
        return split.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)


class _ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels (B, C, ...) of each voxel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.movedim(1, -1)
        return functional.layer_norm(
            last, self.normalized_shape, self.weight.to(last), self.bias.to(last), self.eps
        ).movedim(-1, 1)
