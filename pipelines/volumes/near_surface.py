"""The cells of a lattice that have a sample near a triangle mesh.

Source: specs/pixal3d.md section 1.4 (the step from 512 to 1024).
"""

from __future__ import annotations

import math

import torch

from ..errors import Bundle3DError
from ..meshes.triangle_tree import TriangleTree
from ..progress import Progress, silent

NEAREST = math.sqrt(3) / 2  # steps from the middle of an even number of samples to the nearest ones


def cells_near_surface(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    samples: int,
    per_cell: int,
    distance: float,
    progress: Progress = silent,
) -> torch.Tensor:
    """(M, 3) int32 cells of ``per_cell``^3 samples that hold one nearer than ``distance`` to ``faces`` of ``vertices``.

    The lattice has ``samples``^3 samples from corner to corner of [-1/2, 1/2]^3; cells come in ascending order of x,
    then y, then z. It is searched from eighths to eighths of cubes, of which most are decided as a whole: exactly, but
    with far fewer distances than samples. ``progress`` counts levels. Raises Bundle3DError unless samples and those of
    a cell are powers of two.
    """
    levels, cell_level = (number.bit_length() - 1 for number in (samples, per_cell))
    if samples != 1 << levels or per_cell != 1 << cell_level or not 0 < cell_level <= levels:
        raise Bundle3DError(
            f"Expected powers of two as the samples of a lattice and of a cell, but got {samples} and {per_cell}; "
            "choose 1024 and 8."
        )
    tree = TriangleTree(vertices, faces)
    step = 1.0 / (samples - 1)
    halves = torch.cartesian_prod(*[torch.arange(2, device=vertices.device)] * 3)
    cubes = torch.zeros(1, 3, dtype=torch.int64, device=vertices.device)
    found = [cubes[:0]]
    for level in range(levels, -1, -1):
        side = 1 << level
        middle = (cubes * side + (side - 1) / 2).double() * step - 0.5
        reach = distance + step * math.sqrt(3) * (side - 1) / 2
        away = tree.closest(middle.float(), limit=reach * 1.001).distance.double()
        open_ = away < reach
        if level <= cell_level:
            near = away < (distance - step * NEAREST if level else distance)
            found.append(torch.unique(cubes[near] >> (cell_level - level), dim=0))
            open_ &= ~near
        cubes = (2 * cubes[open_][:, None] + halves).flatten(0, 1)
        if level < cell_level:
            cubes = _without(cubes, found[-1], cell_level - level + 1)
        progress(levels - level + 1, levels + 1)
    return torch.unique(torch.cat(found), dim=0).int()


def _without(cubes: torch.Tensor, cells: torch.Tensor, levels: int) -> torch.Tensor:
    """Those of ``cubes`` (N, 3), so many levels below cells, whose cell is not among ``cells`` (M, 3)."""
    both = torch.cat((cells, cubes >> levels))
    number = torch.unique(both, dim=0, return_inverse=True)[1]
    known = torch.zeros(int(number.max()) + 1 if len(number) else 0, dtype=torch.bool, device=cubes.device)
    known[number[: len(cells)]] = True
    return cubes[~known[number[len(cells) :]]]
