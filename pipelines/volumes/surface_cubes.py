"""The cubes of a lattice that the zero surface of a signed distance field passes through, for FlexiCubes.

A lattice of resolution R has (R + 1)^3 vertices and R^3 cubes, both counted x first and z fastest. Negative is inside.
Source: specs/kiss3dgen.md section 5.8.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .surface_cells import surface_cells

GRID_SCALE = 2.1


@dataclass(frozen=True)
class SurfaceCubes:
    """S surface cubes with the U lattice vertices they touch, both ascending, on the device of the field.

    ``cells`` (S,) int64: lattice index of the smallest corner; ``cases`` (S,) int64: bit i is set where corner i is
    inside, corner i at (i & 1, i >> 1 & 1, i >> 2 & 1) along x, y, z; ``vertices`` (U,) int64: lattice indices;
    ``rows`` (S, 8) int64: the cubes' corners as positions in ``vertices``; ``sdf`` (U,): the field there, with its
    gradient.
    """

    resolution: int
    cells: torch.Tensor
    cases: torch.Tensor
    vertices: torch.Tensor
    rows: torch.Tensor
    sdf: torch.Tensor


def surface_cubes(sdf: torch.Tensor) -> SurfaceCubes:
    """The cubes of ``sdf`` (R + 1, R + 1, R + 1), float32 or float64, in which both signs occur.

    Raises Bundle3DError for another shape or type, and for values that are not finite.
    """
    _check(sdf)
    size = sdf.shape[0]
    cells, cases = surface_cells(-sdf.detach(), backend="torch")
    strides = (size * size, size, 1)
    offsets = torch.tensor([sum(s for axis, s in enumerate(strides) if i >> axis & 1) for i in range(8)])
    corners = cells[:, None] + offsets.to(cells)
    touched = torch.zeros(size**3, dtype=torch.bool, device=sdf.device)
    touched[corners.reshape(-1)] = True
    vertices = torch.nonzero(touched).squeeze(1)
    row_of = torch.zeros(size**3, dtype=torch.int32, device=sdf.device)
    row_of[vertices] = torch.arange(vertices.shape[0], dtype=torch.int32, device=sdf.device)
    values = sdf.reshape(-1).index_select(0, vertices)
    return SurfaceCubes(size - 1, cells, cases, vertices, row_of[corners].long(), values)


def lattice_points(
    indices: torch.Tensor, resolution: int, scale: float = GRID_SCALE, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """(N, 3) positions of the lattice vertices ``indices`` (N,) int64, on their device."""
    size = resolution + 1
    coordinates = torch.stack((indices // (size * size), indices // size % size, indices % size), dim=1)
    return (coordinates.to(dtype) / resolution - 0.5) * scale


def _check(sdf: torch.Tensor) -> None:
    if sdf.ndim != 3 or len(set(sdf.shape)) != 1 or sdf.shape[0] < 2:
        raise Bundle3DError(
            f"Expected signed distances of shape (R + 1, R + 1, R + 1), but got {tuple(sdf.shape)}; reshape them."
        )
    if sdf.dtype not in (torch.float32, torch.float64):
        raise Bundle3DError(f"Expected signed distances in float32 or float64, but got {sdf.dtype}; convert them.")
    if not bool(torch.isfinite(sdf).all()):
        raise Bundle3DError("Expected finite signed distances, but some are NaN or infinite; compute them in float32.")
