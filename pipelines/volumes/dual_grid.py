"""The surface of a dual grid: one vertex per active voxel, one quad per crossed lattice edge.

Source: specs/pixal3d.md section 3.4 (the decoder's output); specs/pixal3d.md section 12 for its traps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .sorted_keys import MISSING, find_shifted

LARGEST_RESOLUTION = 4096
# The four voxels around the edge that a voxel owns along each axis, in the order of the quad. The edge starts in the
# voxel's corner that is largest in the other two axes.
QUAD_STEPS = (
    ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),
    ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),
    ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)),
)


@dataclass(frozen=True)
class DualGrid:
    """Active voxels of a lattice of ``resolution``^3 over the cube [-0.5, 0.5]^3.

    ``coords`` (V, 3) integer voxels, each once; ``offsets`` (V, 3) dual vertices in voxels from the voxel's smallest
    corner, 0..1 inside of it; ``edges`` (V, 3) bool, whether the surface crosses the edge that the voxel owns along x,
    y, z; ``split_weights`` (V,) positive, which decide about diagonals.

    Raises Bundle3DError for shapes that do not fit, voxels out of the lattice, and values that are not finite.
    """

    coords: torch.Tensor
    offsets: torch.Tensor
    edges: torch.Tensor
    split_weights: torch.Tensor
    resolution: int

    def __post_init__(self) -> None:
        check_voxels(self.coords, self.resolution)
        count = self.coords.shape[0]
        wanted = {"offsets": (count, 3), "edges": (count, 3), "split_weights": (count,)}
        for name, shape in wanted.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise Bundle3DError(
                    f"Expected {name} of shape {shape} for {count} voxels, but got {got}; decode all heads together."
                )
        if self.edges.dtype != torch.bool:
            raise Bundle3DError(f"Expected edges as booleans, but got {self.edges.dtype}; compare the logits with 0.")
        if not bool(torch.isfinite(self.offsets).all() and torch.isfinite(self.split_weights).all()):
            raise Bundle3DError(
                "Expected finite offsets and weights, but some are NaN or infinite; start ComfyUI with --fp32-vae, or "
                "draw another seed."
            )


def check_voxels(coords: torch.Tensor, resolution: int) -> None:
    """Raise Bundle3DError unless ``coords`` (V, 3) are integers within a lattice of a possible ``resolution``."""
    if not 1 <= resolution <= LARGEST_RESOLUTION:
        raise Bundle3DError(f"Expected a resolution of 1 to {LARGEST_RESOLUTION}, but got {resolution}; try 1024.")
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.is_floating_point():
        raise Bundle3DError(
            f"Expected voxels as integers of shape (V, 3), but got {tuple(coords.shape)} of {coords.dtype}; drop the "
            "batch column."
        )
    if coords.numel() and (int(coords.min()) < 0 or int(coords.max()) >= resolution):
        raise Bundle3DError(
            f"Expected voxels in 0..{resolution - 1}, but got {int(coords.min())}..{int(coords.max())}; give the "
            "resolution that they were decoded at."
        )


def sorted_voxels(coords: torch.Tensor, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ascending keys (V,) of the voxels in a lattice with one layer to spare, and the row of ``coords`` of each.

    The spare layer keeps steps of +1 beyond the lattice from meeting a voxel. Raises Bundle3DError where a voxel
    occurs twice.
    """
    x, y, z = coords.long().unbind(1)
    keys = (x * (resolution + 1) + y) * (resolution + 1) + z
    ordered, order = torch.sort(keys)
    if bool((ordered[1:] == ordered[:-1]).any()):
        raise Bundle3DError("Expected every voxel once, but some occur twice; pass one object, without duplicates.")
    return ordered, order


def dual_grid_mesh(grid: DualGrid, backend: str = "auto") -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (V, 3) float32, one per voxel, used or not, in [-0.5, 0.5]^3, and faces (M, 3) int64.

    A crossed edge gives a quad where all four voxels around it are active, and nothing otherwise. It is cut along the
    diagonal from its first corner where the weights there have the larger product. Faces come axis by axis, voxel by
    voxel; their winding follows from the order of the voxels, not from any inside.

    Raises Bundle3DError where a voxel occurs twice.
    """
    vertices = (grid.coords.float() + grid.offsets.float()) / grid.resolution - 0.5
    keys, order = sorted_voxels(grid.coords, grid.resolution)
    crossed, weights = grid.edges.index_select(0, order), grid.split_weights.index_select(0, order)
    side = grid.resolution + 1
    near: dict[tuple[int, int, int], torch.Tensor] = {}
    faces = []
    for axis, steps in enumerate(QUAD_STEPS):
        for step in steps[1:]:
            if step not in near:
                near[step] = find_shifted(keys, keys, (step[0] * side + step[1]) * side + step[2], backend)
        own = torch.nonzero(crossed[:, axis]).squeeze(1)
        quad = torch.stack([own, *(near[step].index_select(0, own) for step in steps[1:])], dim=1)
        quad = quad[(quad != MISSING).all(1)]
        faces.append(order.index_select(0, _triangles(quad, weights).reshape(-1)).reshape(-1, 3))
    return vertices, torch.cat(faces)


def _triangles(quad: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(2 Q, 3) triangles of the quads (Q, 4)."""
    a, b, c, d = (weights.index_select(0, quad[:, i]) for i in range(4))
    along_first = (a * c > b * d)[:, None]
    one = torch.where(along_first, quad[:, [0, 1, 2]], quad[:, [0, 1, 3]])
    two = torch.where(along_first, quad[:, [0, 2, 3]], quad[:, [3, 1, 2]])
    return torch.stack((one, two), dim=1).reshape(-1, 3)
