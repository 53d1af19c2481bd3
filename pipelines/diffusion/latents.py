"""The layouts of FLUX latents. Source: specs/kiss3dgen.md 2.4."""

from __future__ import annotations

import torch


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) latents as (B, H/2 * W/2, 4C) tokens: each is a 2x2 square, channel by channel, row by row."""
    batch, channels, height, width = latents.shape
    squares = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The inverse of ``pack``: (B, rows * columns, 4C) tokens as (B, C, 2 rows, 2 columns) latents."""
    batch, _, channels = tokens.shape
    squares = tokens.reshape(batch, rows, columns, channels // 4, 2, 2)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, 2 * rows, 2 * columns)


def image_ids(rows: int, columns: int, device: torch.device | None = None) -> torch.Tensor:
    """(rows * columns, 3) float32 positions (0, row, column) of the image tokens."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    ids = torch.stack([torch.zeros_like(row), row, column], dim=-1)
    return ids.reshape(-1, 3).to(device, torch.float32)


def text_ids(count: int, device: torch.device | None = None) -> torch.Tensor:
    """(count, 3) positions of the text tokens, which are all at the origin."""
    return torch.zeros(count, 3, device=device)
