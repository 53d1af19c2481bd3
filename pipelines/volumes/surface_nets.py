"""The zero surface of a sampled field as a closed manifold mesh: dual vertices at the mean of their edge crossings.

Cells with several surface sheets get one vertex per sheet, so that no vertex or edge is shared by more sheets than one.
Source: specs/kernels.md section 5 (surface nets), specs/kiss3dgen.md section 5.8 (sheets and the ambiguity rule).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from .dual_cases import EDGE_CORNERS, NO_FACE, dual_cases
from .surface_cells import surface_cells

# Crossings keep this distance (in cells) from the samples, so that no two vertices fall together.
CROSSING_MARGIN = 0.02


def surface_nets(
    field: torch.Tensor,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    spacing: float = 1.0,
    backend: str = "auto",
) -> Mesh:
    """The surface between positive (inside) and other samples of ``field`` (X, Y, Z) float32, facing outward.

    Sample (i, j, k) lies at ``origin + spacing * (i, j, k)``. The mesh is manifold, and closed unless the surface
    leaves the grid; it is empty where the field has one sign. Field and mesh are on one device.

    Raises Bundle3DError for a field that is not three-dimensional with at least two samples per axis.
    """
    if field.ndim != 3 or min(field.shape) < 2:
        raise Bundle3DError(f"Expected a field of at least 2 x 2 x 2 samples, but got {tuple(field.shape)}.")
    cells, cases = surface_cells(field, backend)
    cells, cases = cells.to(field.device), cases.to(field.device)
    strides = (field.shape[1] * field.shape[2], field.shape[2], 1)
    cases = _settle_ambiguous_faces(cells, cases, strides)
    tables = dual_cases()
    group = tables.group.to(field.device).index_select(0, cases)
    count = tables.count.to(field.device).index_select(0, cases)
    first = torch.cumsum(count, 0) - count
    corner_offsets = torch.tensor([sum(s for axis, s in enumerate(strides) if i >> axis & 1) for i in range(8)])
    values = field.reshape(-1)[cells[:, None] + corner_offsets.to(cells)]
    vertices = _dual_vertices(cells, values, group, first, int(count.sum()), strides)
    faces = _faces(cells, values, group, first, vertices, strides)
    shift = torch.tensor(tuple(origin), dtype=vertices.dtype, device=vertices.device)
    return Mesh(vertices * spacing + shift, faces)


def _settle_ambiguous_faces(cells: torch.Tensor, cases: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Join the inside corners across a face, by complementing the case, where both of its cells would be pinched."""
    problem_face = dual_cases().problem_face.to(cells).index_select(0, cases)
    at = torch.nonzero(problem_face != NO_FACE).squeeze(1)
    face = problem_face[at]
    outward = torch.tensor([sign * stride for stride in strides for sign in (-1, 1)]).to(cells)
    neighbour, found = _find(cells, cells[at] + outward[face])
    pinched = found & (problem_face[neighbour] == (face ^ 1))
    settled = cases.clone()
    settled[at[pinched]] = 255 - cases[at[pinched]]
    return settled


def _find(cells: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of ``wanted`` in the sorted ``cells`` and whether they are there."""
    position = torch.searchsorted(cells, wanted).clamp(max=max(cells.shape[0] - 1, 0))
    return position, cells[position] == wanted


def _dual_vertices(
    cells: torch.Tensor,
    values: torch.Tensor,
    group: torch.Tensor,
    first: torch.Tensor,
    total: int,
    strides: Sequence[int],
) -> torch.Tensor:
    """(total, 3) means of the crossings of each group, in units of samples."""
    rows = strides[0] // strides[1]
    corner = torch.stack((cells // strides[0], cells // strides[1] % rows, cells % strides[1]), dim=1)
    sums = torch.zeros(total, 3, dtype=torch.float64, device=cells.device)
    counts = torch.zeros(total, dtype=torch.float64, device=cells.device)
    for edge, (a, b) in enumerate(EDGE_CORNERS):
        crossed = torch.nonzero(group[:, edge] >= 0).squeeze(1)
        start, end = values[crossed, a].double(), values[crossed, b].double()
        fraction = (start / (start - end)).clamp(CROSSING_MARGIN, 1.0 - CROSSING_MARGIN)
        point = corner[crossed].double() + torch.tensor([float(a >> axis & 1) for axis in range(3)]).to(sums)
        point[:, edge // 4] += fraction
        vertex = first[crossed] + group[crossed, edge]
        sums.index_add_(0, vertex, point)
        counts.index_add_(0, vertex, torch.ones_like(fraction))
    return (sums / counts[:, None]).float()


def _faces(
    cells: torch.Tensor,
    values: torch.Tensor,
    group: torch.Tensor,
    first: torch.Tensor,
    vertices: torch.Tensor,
    strides: Sequence[int],
) -> torch.Tensor:
    """(M, 3) triangles: a quad around every crossed edge that has four cells, split along its shorter diagonal."""
    quads = []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        own = torch.nonzero(group[:, 4 * axis] >= 0).squeeze(1)
        complete = torch.ones_like(own, dtype=torch.bool)
        corners = []
        # Counter-clockwise around the edge, seen from its far end.
        for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)):
            cell, found = _find(cells, cells[own] - i * strides[b] - j * strides[c])
            edge_group = group[cell, 4 * axis + i + 2 * j]
            complete &= found & (edge_group >= 0)
            corners.append(first[cell] + edge_group)
        quad = torch.stack(corners, dim=1)
        leaves = values[own, 0] > 0
        quads.append(torch.where(leaves[:, None], quad, quad.flip(1))[complete])
    quad = torch.cat(quads)
    a, b_, c_, d = (vertices.index_select(0, quad[:, i]) for i in range(4))
    first_shorter = ((a - c_).norm(dim=1) <= (b_ - d).norm(dim=1))[:, None]
    one = torch.where(first_shorter, quad[:, [0, 1, 2]], quad[:, [0, 1, 3]])
    two = torch.where(first_shorter, quad[:, [0, 2, 3]], quad[:, [1, 2, 3]])
    return torch.stack((one, two), dim=1).reshape(-1, 3)
