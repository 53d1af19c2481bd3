"""Rotations as vectors: along the axis, as long as the angle in radians."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize


def rotation_between(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """The shortest rotation (..., 3) that takes unit vectors ``start`` (..., 3) to ``end``; zero where they agree or
    point in opposite directions."""
    axis = torch.linalg.cross(start, end)
    angle = torch.atan2(axis.norm(dim=-1, keepdim=True), (start * end).sum(-1, keepdim=True))
    return normalize(axis, dim=-1) * angle


def rotated(vectors: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """``vectors`` (..., 3) turned by ``rotation`` (..., 3), by Rodrigues' formula."""
    angle = rotation.norm(dim=-1, keepdim=True)
    axis = rotation / angle.clamp(min=1e-20)
    along = axis * (axis * vectors).sum(-1, keepdim=True)
    return along + (vectors - along) * angle.cos() + torch.linalg.cross(axis, vectors) * angle.sin()
