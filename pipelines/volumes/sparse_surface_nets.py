"""The zero surface of a distance field that is evaluated near the surface only, from coarse cells to fine ones.

Source: specs/pixal3d.md section 4, step 2 (narrow-band dual contouring). Unlike the reference, cells with several
sheets get one vertex per sheet, so that the mesh is always manifold, and quads are cut along their shorter diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, Stage, silent
from .dual_topology import dual_topology
from .sorted_keys import find_shifted, join_shifted
from .surface_nets import dual_faces, dual_vertices

COARSEST = 32  # cells along the longest side that the search begins with
HALF_DIAGONAL = 0.87  # of a cell, just above the square root of 3/4
LARGEST_SIDE = 4096
CHUNK = 1 << 18  # cells looked at, or corners evaluated, at once
STEPS = 100  # of the progress
SEARCHED, SAMPLED = 55, 90


class DistanceField(Protocol):
    """Values (Q,) at points (Q, 3), negative inside, that change by no more than the way between two points.

    Where a value is ``reach`` or more from zero, it may be anything that is as far and of the same sign.
    """

    def __call__(self, points: torch.Tensor, reach: float) -> torch.Tensor: ...


def sparse_surface_nets(
    field: DistanceField,
    low: torch.Tensor,
    high: torch.Tensor,
    cell: float,
    progress: Progress = silent,
    backend: str = "auto",
) -> Mesh:
    """The surface where ``field`` changes sign within the box from ``low`` to ``high`` (3,), facing outward.

    Cells are cubes with sides ``cell``. The mesh is manifold, and closed where the field is positive on the box; it is
    empty where there is no surface. Time and memory grow with the surface, not with the box. ``progress`` may cancel
    between chunks. Raises Bundle3DError for more than 4096 cells along a side.
    """
    origin, shape, halvings = _lattice(low, high, cell)
    coords = _search(field, origin, shape, halvings, cell, Stage(progress, 0, SEARCHED, STEPS))
    strides = ((shape[1] + 1) * (shape[2] + 1), shape[2] + 1, 1)
    x, y, z = coords.unbind(1)
    cells = torch.sort(x.long() * strides[0] + y * strides[1] + z).values
    corners = cells
    for stride in reversed(strides):
        corners = join_shifted(corners, stride, backend)
    inside = corners.new_empty(corners.shape[0], dtype=torch.float32)
    for start, part in _chunks(corners, Stage(progress, SEARCHED, SAMPLED, STEPS)):
        place = torch.stack((part // strides[0], part // strides[1] % (shape[1] + 1), part % strides[1]), dim=1)
        inside[start : start + CHUNK] = -field(origin + place * cell, cell)
    cells, cases, values = _mixed(cells, corners, inside, strides, backend)
    topology = dual_topology(cells, cases, strides)
    vertices = dual_vertices(topology, values)
    faces = dual_faces(topology, values, vertices)
    progress(STEPS, STEPS)
    return Mesh(vertices * cell + origin, faces)


def _lattice(low: torch.Tensor, high: torch.Tensor, cell: float) -> tuple[torch.Tensor, tuple[int, ...], int]:
    """Where the lattice of cells begins, how many cells it has along each axis, and how often these can be halved."""
    needed = torch.ceil((high - low).double() / cell).clamp(min=1)
    longest = int(needed.max())
    if longest > LARGEST_SIDE:
        raise Bundle3DError(
            f"Expected at most {LARGEST_SIDE} cells along the mesh, but got {longest}; choose a lower resolution."
        )
    halvings = 0
    while longest > COARSEST << halvings:
        halvings += 1
    step = 1 << halvings
    shape = tuple(-(-int(count) // step) * step for count in needed)
    spare = torch.tensor(shape, dtype=torch.float64, device=low.device) * cell - (high - low).double()
    return (low.double() - spare / 2).float(), shape, halvings


def _search(
    field: DistanceField,
    origin: torch.Tensor,
    shape: tuple[int, ...],
    halvings: int,
    cell: float,
    progress: Progress,
) -> torch.Tensor:
    """(C, 3) int32 cells that the surface may pass through."""
    device = origin.device
    axes = [torch.arange(count >> halvings, dtype=torch.int32, device=device) for count in shape]
    coords = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    halves = torch.tensor([[i >> axis & 1 for axis in range(3)] for i in range(8)], dtype=torch.int32, device=device)
    for level in range(halvings, -1, -1):
        size, reach = cell * (1 << level), HALF_DIAGONAL * cell * (1 << level)
        kept = [coords[:0]]
        for _, part in _chunks(coords, Stage(progress, halvings - level, halvings - level + 1, halvings + 1)):
            children = part if level == halvings else (2 * part[:, None] + halves).reshape(-1, 3)
            near = field(origin + (children + 0.5) * size, reach).abs() < reach
            kept.append(children[near])
        coords = torch.cat(kept)
    return coords


def _chunks(values: torch.Tensor, progress: Progress) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, values.shape[0], CHUNK):
        yield start, values[start : start + CHUNK]
        progress(min(start + CHUNK, values.shape[0]), values.shape[0])


def _mixed(
    cells: torch.Tensor, corners: torch.Tensor, inside: torch.Tensor, strides: tuple[int, ...], backend: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The cells with both signs, their cases as in ``dual_cases`` and their values (C, 8), of ``inside`` at corners."""
    shifts = [sum(stride for axis, stride in enumerate(strides) if corner >> axis & 1) for corner in range(8)]
    cases = torch.zeros_like(cells)
    for corner, shift in enumerate(shifts):
        position = find_shifted(corners, cells, shift, backend)
        cases |= (inside.index_select(0, position) > 0).long() << corner
    mixed = (cases != 0) & (cases != 255)
    cells, cases = cells[mixed], cases[mixed]
    values = [inside.index_select(0, find_shifted(corners, cells, shift, backend)) for shift in shifts]
    return cells, cases, torch.stack(values, dim=1)
