"""FlexiCubes: the zero surface of a signed distance field whose vertices can be moved within their cubes by weights.

First find the surface cubes, evaluate the weights for these alone, then extract:

    cubes = surface_cubes(sdf)
    weights = cube_weights(network(features[cubes.vertices[cubes.rows]]))
    vertices, faces = dual_mesh(cubes, weights)

Source: specs/kiss3dgen.md section 5.8; Shen et al., "Flexible Isosurface Extraction for Gradient-Based Mesh
Optimization", 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .dual_cases import EDGE_CORNERS
from .dual_topology import NO_VERTEX, DualTopology, dual_topology
from .surface_cubes import GRID_SCALE, SurfaceCubes, lattice_points

# The order in which a cube's edges are given to beta, as pairs of corners.
BETA_EDGES = ((0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4))
# The place in beta of each edge of ``dual_cases``.
BETA_OF_EDGE = tuple([set(pair) for pair in BETA_EDGES].index(set(pair)) for pair in EDGE_CORNERS)
CHANNELS = 21
WEIGHT_SCALE = 0.5
OFFSET_FRACTION = 0.25


@dataclass(frozen=True)
class CubeWeights:
    """Positive weights of S cubes: ``beta`` (S, 12) of the crossings, edges as in ``BETA_EDGES``; ``alpha`` (S, 8) of
    the corners' distances; ``gamma`` (S,) of the diagonals that end in the cube."""

    beta: torch.Tensor
    alpha: torch.Tensor
    gamma: torch.Tensor


def cube_weights(raw: torch.Tensor, weight_scale: float = WEIGHT_SCALE) -> CubeWeights:
    """Weights from the unbounded ``raw`` (S, 21): beta, alpha and gamma in this order; zeros mean no preference.

    Beta and alpha lie in 1 -+ weight_scale, gamma in (1 -+ weight_scale) / 2. Raises Bundle3DError for another shape.
    """
    if raw.ndim != 2 or raw.shape[1] != CHANNELS:
        raise Bundle3DError(
            f"Expected weights of shape (S, {CHANNELS}), but got {tuple(raw.shape)}; check the network."
        )
    beta, alpha = (torch.tanh(part) * weight_scale + 1.0 for part in (raw[:, :12], raw[:, 12:20]))
    return CubeWeights(beta, alpha, torch.sigmoid(raw[:, 20]) * weight_scale + (1.0 - weight_scale) / 2.0)


def vertex_offsets(raw: torch.Tensor, resolution: int) -> torch.Tensor:
    """Offsets (U, 3) from the unbounded ``raw`` (U, 3): at most a quarter of 1 / resolution along each axis."""
    return torch.tanh(raw) * (OFFSET_FRACTION / resolution)


def dual_mesh(
    cubes: SurfaceCubes,
    weights: CubeWeights | None = None,
    offsets: torch.Tensor | None = None,
    scale: float = GRID_SCALE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices (V, 3) in the field's type and faces (M, 3) int64 of the surface, counter-clockwise seen from outside.

    ``weights`` of the cubes (absent: no preference) and ``offsets`` (U, 3) of ``cubes.vertices`` from their places in a
    lattice of edge ``scale``, in the lattice's units, have the field's type and device. The vertices are differentiable
    in the field, the weights and the offsets; both passes are deterministic on every device.

    Vertices come cube by cube, one for each sheet of the surface. Where the surface stays inside of the lattice, the
    mesh is closed and manifold. Edges on the lattice's boundary emit no face: there the mesh is open, no edge has more
    than two faces, but vertices may have several fans of faces or none. Sheets may pass through each other.

    Raises Bundle3DError for weights or offsets of another size.
    """
    _check(cubes, weights, offsets)
    size = cubes.resolution + 1
    topology = dual_topology(cubes.cells, cubes.cases, (size * size, size, 1))
    positions = lattice_points(cubes.vertices, cubes.resolution, scale, cubes.sdf.dtype)
    vertices = _dual_vertices(cubes, topology, weights, positions if offsets is None else positions + offsets)
    return vertices, _faces(cubes, topology, None if weights is None else weights.gamma.detach())


def _check(cubes: SurfaceCubes, weights: CubeWeights | None, offsets: torch.Tensor | None) -> None:
    count = cubes.cells.shape[0]
    if weights is not None:
        found = tuple(tuple(part.shape) for part in (weights.beta, weights.alpha, weights.gamma))
        if found != ((count, 12), (count, 8), (count,)):
            raise Bundle3DError(
                f"Expected weights for the {count} surface cubes, but got {found}; evaluate them for these cubes."
            )
    if offsets is not None and offsets.shape != (cubes.vertices.shape[0], 3):
        raise Bundle3DError(
            f"Expected an offset for each of the {cubes.vertices.shape[0]} vertices of the surface cubes, but got "
            f"{tuple(offsets.shape)}; give those of cubes.vertices."
        )


def _dual_vertices(
    cubes: SurfaceCubes, topology: DualTopology, weights: CubeWeights | None, positions: torch.Tensor
) -> torch.Tensor:
    """(V, 3) means of the crossings of each sheet, weighted by beta; ``positions`` (U, 3) of ``cubes.vertices``."""
    total = topology.owner.shape[0]
    sums, shares = positions.new_zeros(total, 3), positions.new_zeros(total)
    # Edge by edge no index occurs twice, so that sums and gradients do not depend on the order of parallel additions.
    for edge, (a, b) in enumerate(EDGE_CORNERS):
        crossed = torch.nonzero(topology.vertex[:, edge] != NO_VERTEX).squeeze(1)
        start, end = cubes.rows[crossed, a], cubes.rows[crossed, b]
        here, there = cubes.sdf.index_select(0, start), cubes.sdf.index_select(0, end)
        share = torch.ones_like(here)
        if weights is not None:
            here, there = here * weights.alpha[crossed, a], there * weights.alpha[crossed, b]
            share = weights.beta[crossed, BETA_OF_EDGE[edge]]
        fraction = (here / (here - there))[:, None]
        point = positions.index_select(0, start) * (1.0 - fraction) + positions.index_select(0, end) * fraction
        vertex = topology.vertex[crossed, edge]
        sums.index_add_(0, vertex, point * share[:, None])
        shares.index_add_(0, vertex, share)
    return sums / shares[:, None]


def _faces(cubes: SurfaceCubes, topology: DualTopology, gamma: torch.Tensor | None) -> torch.Tensor:
    """(M, 3) triangles: every quad outward, split along the diagonal whose cubes have the larger product of gamma."""
    preference = topology.owner.new_ones(topology.owner.shape) if gamma is None else gamma[topology.owner]
    faces = []
    for axis, own, quad in topology.quads():
        leaves = (cubes.cases[own] & 1) == 1
        outer = preference[quad[:, 0]] * preference[quad[:, 2]]
        inner = preference[quad[:, 1]] * preference[quad[:, 3]]
        # Between equal products the published order of a quad's corners decides, which follows the sign at the end of
        # the edge that BETA_EDGES names first: the far one along y.
        first_end = cubes.rows[own, 1 << axis if axis == 1 else 0]
        along_outer = ((outer > inner) | ((outer == inner) & ~(cubes.sdf[first_end] > 0)))[:, None]
        one = torch.where(along_outer, quad[:, [0, 1, 2]], quad[:, [0, 1, 3]])
        two = torch.where(along_outer, quad[:, [0, 2, 3]], quad[:, [3, 1, 2]])
        triangles = torch.stack((one, two), dim=1)
        faces.append(torch.where(leaves[:, None, None], triangles, triangles.flip(2)).reshape(-1, 3))
    return torch.cat(faces)
