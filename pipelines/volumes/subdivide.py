"""Voxels split into those of their eight children that exist.

Child s of a voxel lies at dx = s & 1, dy = s >> 1 & 1, dz = s >> 2 & 1 of its eight halves; new rows come parent by
parent, then by s. Source: specs/pixal3d.md section 3.3.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError

CHILDREN = 8


def channel_to_space(features: torch.Tensor, children: torch.Tensor) -> torch.Tensor:
    """(M, C) features of the voxels that ``children`` (N, 8) bool names; ``features`` (N, 8 * C) are child by child."""
    _check(features.shape[0], children)
    if features.ndim != 2 or features.shape[1] % CHILDREN:
        raise Bundle3DError(
            f"Expected features of shape (N, 8 * C), but got {tuple(features.shape)}; check the network's channels."
        )
    rows = children.reshape(-1).nonzero().squeeze(1)
    return features.reshape(-1, features.shape[1] // CHILDREN).index_select(0, rows)


def subdivide_coords(coords: torch.Tensor, children: torch.Tensor) -> torch.Tensor:
    """(M, 4) int32 voxels, in lattices of twice the resolution, that ``children`` (N, 8) of ``coords`` (N, 4) names."""
    _check(coords.shape[0], children)
    parent, child = children.nonzero(as_tuple=True)
    item, x, y, z = coords.index_select(0, parent).unbind(1)
    child = child.to(coords.dtype)
    halves = (2 * x + (child & 1), 2 * y + (child >> 1 & 1), 2 * z + (child >> 2 & 1))
    return torch.stack((item, *halves), dim=1)


def _check(count: int, children: torch.Tensor) -> None:
    if children.shape != (count, CHILDREN) or children.dtype != torch.bool:
        raise Bundle3DError(
            f"Expected children of shape ({count}, 8) bool, but got {tuple(children.shape)} {children.dtype}; compare "
            "the subdivision's logits with zero."
        )
