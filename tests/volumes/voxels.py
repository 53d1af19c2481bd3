"""Random voxels, and dense volumes of what lies at them, that the tests of sparse operations compare with."""

from __future__ import annotations

import torch


def random_voxels(
    resolution: int, share: float = 0.3, items: int = 2, seed: int = 0, ordered: bool = False
) -> torch.Tensor:
    """(N, 4) int32 voxels that fill a ``share`` of the lattices, shuffled within each of them unless ``ordered``."""
    generator = torch.Generator().manual_seed(seed)
    filled = torch.rand(items, resolution, resolution, resolution, generator=generator) < share
    coords = filled.nonzero().int()
    if ordered:
        return coords
    shuffled = coords[torch.randperm(coords.shape[0], generator=generator)]
    return shuffled[torch.argsort(shuffled[:, 0], stable=True)]


def dense_volume(coords: torch.Tensor, features: torch.Tensor, resolution: int, items: int) -> torch.Tensor:
    """(items, C, R, R, R) volume with ``features`` (N, C) at ``coords`` (N, 4) and zero elsewhere."""
    volume = features.new_zeros(items, resolution, resolution, resolution, features.shape[1])
    volume[tuple(coords.long().T)] = features
    return volume.permute(0, 4, 1, 2, 3)


def at_voxels(volume: torch.Tensor, coords: torch.Tensor) -> torch.Tensor:
    """(N, C) values of ``volume`` (items, C, R, R, R) at ``coords`` (N, 4)."""
    return volume.permute(0, 2, 3, 4, 1)[tuple(coords.long().T)]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Length of the difference over that of what was expected."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())
