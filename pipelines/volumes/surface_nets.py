"""The zero surface of a sampled field as a closed manifold mesh: dual vertices at the mean of their edge crossings.

Cells with several surface sheets get one vertex per sheet, so that no vertex or edge is shared by more sheets than one.
Source: specs/kernels.md section 5 (surface nets), specs/kiss3dgen.md section 5.8 (sheets and the ambiguity rule).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from .dual_cases import EDGE_CORNERS
from .dual_topology import NO_VERTEX, DualTopology, dual_topology
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
    topology = dual_topology(cells, cases, strides)
    corner_offsets = torch.tensor([sum(s for axis, s in enumerate(strides) if i >> axis & 1) for i in range(8)])
    values = field.reshape(-1)[cells[:, None] + corner_offsets.to(cells)]
    vertices = dual_vertices(topology, values)
    faces = dual_faces(topology, values, vertices)
    shift = torch.tensor(tuple(origin), dtype=vertices.dtype, device=vertices.device)
    return Mesh(vertices * spacing + shift, faces)


def dual_vertices(topology: DualTopology, values: torch.Tensor) -> torch.Tensor:
    """(V, 3) means of the crossings of each group, in units of samples; ``values`` (C, 8) at the cells' corners."""
    cells, strides, total = topology.cells, topology.strides, topology.owner.shape[0]
    rows = strides[0] // strides[1]
    corner = torch.stack((cells // strides[0], cells // strides[1] % rows, cells % strides[1]), dim=1)
    sums = torch.zeros(total, 3, dtype=torch.float64, device=cells.device)
    counts = torch.zeros(total, dtype=torch.float64, device=cells.device)
    for edge, (a, b) in enumerate(EDGE_CORNERS):
        crossed = torch.nonzero(topology.vertex[:, edge] != NO_VERTEX).squeeze(1)
        start, end = values[crossed, a].double(), values[crossed, b].double()
        fraction = (start / (start - end)).clamp(CROSSING_MARGIN, 1.0 - CROSSING_MARGIN)
        point = corner[crossed].double() + torch.tensor([float(a >> axis & 1) for axis in range(3)]).to(sums)
        point[:, edge // 4] += fraction
        vertex = topology.vertex[crossed, edge]
        sums.index_add_(0, vertex, point)
        counts.index_add_(0, vertex, torch.ones_like(fraction))
    return (sums / counts[:, None]).float()


def dual_faces(topology: DualTopology, values: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    """(M, 3) triangles: every quad outward, split along its shorter diagonal."""
    quads = []
    for _, own, quad in topology.quads():
        leaves = values[own, 0] > 0
        quads.append(torch.where(leaves[:, None], quad, quad.flip(1)))
    quad = torch.cat(quads)
    a, b_, c_, d = (vertices.index_select(0, quad[:, i]) for i in range(4))
    first_shorter = ((a - c_).norm(dim=1) <= (b_ - d).norm(dim=1))[:, None]
    one = torch.where(first_shorter, quad[:, [0, 1, 2]], quad[:, [0, 1, 3]])
    two = torch.where(first_shorter, quad[:, [0, 2, 3]], quad[:, [1, 2, 3]])
    return torch.stack((one, two), dim=1).reshape(-1, 3)
