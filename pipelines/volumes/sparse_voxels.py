"""Features at the occupied voxels of a batch of lattices, and the order of their rows.

A voxel's key is its place in the batch of lattices read batch item by batch item, then along x, y and z.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..errors import Bundle3DError


@dataclass(frozen=True)
class SparseVoxels:
    """``features`` (N, C) of voxels at ``coords`` (N, 4) int32 (batch item, x, y, z) in lattices of ``resolution``^3.

    Rows are sorted by batch item; within one they come in any order, each voxel at most once. Raises Bundle3DError for
    other shapes and types, for voxels outside of the lattice and for unsorted batch items.
    """

    coords: torch.Tensor
    features: torch.Tensor
    resolution: int

    def __post_init__(self) -> None:
        check_coords(self.coords, self.resolution)
        if self.features.ndim != 2 or self.features.shape[0] != self.coords.shape[0]:
            raise Bundle3DError(
                f"Expected features of shape ({self.coords.shape[0]}, C) for as many voxels, but got "
                f"{tuple(self.features.shape)}; give one row for each voxel."
            )
        if self.features.device != self.coords.device:
            raise Bundle3DError(
                f"Expected features and voxels on one device, but got {self.features.device} and "
                f"{self.coords.device}; move one of them."
            )

    def with_features(self, features: torch.Tensor) -> SparseVoxels:
        """The same voxels with other features (N, C')."""
        return replace(self, features=features)

    def lengths(self) -> list[int]:
        """Number of rows of every batch item, up to the last one that has any."""
        return batch_lengths(self.coords)


def check_coords(coords: torch.Tensor, resolution: int) -> None:
    """Raise Bundle3DError unless ``coords`` are (N, 4) int32 within ``resolution``^3 and sorted by batch item."""
    if coords.ndim != 2 or coords.shape[1] != 4 or coords.dtype != torch.int32:
        raise Bundle3DError(
            f"Expected voxels of shape (N, 4) int32 (batch item, x, y, z), but got {tuple(coords.shape)} "
            f"{coords.dtype}; convert them."
        )
    if resolution < 1:
        raise Bundle3DError(f"Expected a resolution of at least 1, but got {resolution}; choose a larger one.")
    if not coords.shape[0]:
        return
    least, most = (int(value) for value in coords[:, 1:].aminmax())
    if least < 0 or most >= resolution:
        raise Bundle3DError(
            f"Expected voxels in 0..{resolution - 1} along each axis, but got {least}..{most}; check the resolution."
        )
    items = coords[:, 0]
    if int(items[0]) < 0 or bool((items[1:] < items[:-1]).any()):
        raise Bundle3DError("Expected voxels sorted by batch item from 0 up, but they are not; use sorted_rows.")


def batch_lengths(coords: torch.Tensor) -> list[int]:
    """Number of rows of every batch item, up to the last one that has any; ``coords`` (N, 4)."""
    lengths: list[int] = torch.bincount(coords[:, 0]).tolist()
    return lengths


def voxel_keys(coords: torch.Tensor, resolution: int) -> torch.Tensor:
    """(N,) int64 keys of ``coords`` (N, 4) in lattices of ``resolution``^3."""
    item, x, y, z = coords.long().unbind(1)
    return ((item * resolution + x) * resolution + y) * resolution + z


def voxels_of_keys(keys: torch.Tensor, resolution: int) -> torch.Tensor:
    """(N, 4) int32 voxels of ``keys`` (N,); undoes `voxel_keys`."""
    columns = (keys // resolution**3, keys // resolution**2 % resolution, keys // resolution % resolution)
    return torch.stack((*columns, keys % resolution), dim=1).int()


def sorted_rows(coords: torch.Tensor, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """``coords`` (N, 4) in ascending order of their keys, and the rows (N,) int64 that they came from."""
    order = torch.argsort(voxel_keys(coords, resolution))
    return coords.index_select(0, order), order


def unique_rows(coords: torch.Tensor, resolution: int) -> torch.Tensor:
    """Every voxel of ``coords`` (N, 4) once, as (M, 4) int32 in ascending order of their keys."""
    return voxels_of_keys(torch.unique(voxel_keys(coords, resolution)), resolution)
