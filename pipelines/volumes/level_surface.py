"""The surface at a level of a field that is known at some voxels and constant everywhere else.

Source: specs/pixal3d.md section 1.4 (a lattice of ones, with decoded distances where there are any). Unlike the
reference, which cuts a dense lattice by marching cubes, time and memory grow with the known voxels, and the surface is
that of `surface_nets`, always manifold and closed.
"""

from __future__ import annotations

import torch

from ..meshes.mesh import Mesh
from .dual_topology import dual_topology
from .sorted_keys import find_shifted, join_shifted
from .surface_nets import dual_faces, dual_vertices


def level_surface(
    places: torch.Tensor,
    values: torch.Tensor,
    resolution: int,
    level: float,
    elsewhere: float,
    backend: str = "auto",
) -> Mesh:
    """The surface between ``values`` (N,) below ``level``, which are inside, and others, facing outward.

    ``places`` (N, 3) int are voxels of a lattice of ``resolution``^3, each at most once; all others, and those beyond
    the lattice, have the value ``elsewhere``, above the level. The value of a voxel lies at its place, in whose units
    the vertices are. The mesh is empty where nothing is inside.
    """
    size = resolution + 2  # a margin of one voxel closes the surface at the lattice's faces
    strides = (size * size, size, 1)
    x, y, z = (places + 1).long().unbind(1)
    keys, order = torch.sort(x * strides[0] + y * strides[1] + z)
    inside = (level - values.float()).index_select(0, order)
    cells = keys[inside > 0] - sum(strides)
    for stride in reversed(strides):
        cells = join_shifted(cells, stride, backend)
    samples, cases = [], torch.zeros_like(cells)
    for corner in range(8):
        shift = sum(stride for axis, stride in enumerate(strides) if corner >> axis & 1)
        position = find_shifted(keys, cells, shift, backend)
        known = inside.index_select(0, position.clamp(min=0))
        samples.append(torch.where(position >= 0, known, level - elsewhere))
        cases |= (samples[-1] > 0).long() << corner
    mixed = cases != 255
    cells, cases, corners = cells[mixed], cases[mixed], torch.stack(samples, dim=1)[mixed]
    topology = dual_topology(cells, cases, strides)
    vertices = dual_vertices(topology, corners)
    return Mesh(vertices - 1, dual_faces(topology, corners, vertices))
