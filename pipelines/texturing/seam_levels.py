"""What to add to colours around painted ones, so that no seam shows where they meet."""

from __future__ import annotations

import torch

from ..meshes.harmonic_fill import harmonic_fill
from ..meshes.mesh import Mesh
from ..meshes.topology import unique_edges
from ..progress import Progress, Stage, silent

BLUR = 0.08  # world units over which differences are averaged: detail that lies elsewhere is not a shift of colour
NEAR = 0.08  # world units within which that detail fades
LENGTHS = 3.0  # of decay within the reach: a twentieth is left there
# A vertex whose surroundings are a lattice of triangles of edge h: the graph's Laplacian is 3 / 2 h^2 the surface's.
LATTICE = 1.5
LEAST = 1e-3  # of known surroundings
AVERAGED, FADED, DONE = 50, 70, 100  # steps of the progress


def seam_levels(
    mesh: Mesh, differences: torch.Tensor, weight: torch.Tensor, reach: float, progress: Progress = silent
) -> torch.Tensor:
    """(N, C) offsets of the colours of ``mesh``, whose vertices (N,) are joined at seams.

    Where ``weight`` (N,) is 1 they are the ``differences`` (N, C). From there their average over BLUR fades to zero
    within ``reach`` world units, and what they differ by from it within NEAR, each by the membrane that minimises
    |grad offset|^2 + |offset / length|^2.
    """
    edge = _mean_edges(mesh)
    far, near = ((LATTICE * (edge * LENGTHS / length).square()).clamp(1e-6, 0.99) for length in (reach, NEAR))
    data = weight * (LATTICE * (edge / BLUR).square()).clamp(max=0.99)
    known = torch.cat((differences, torch.ones_like(differences[:, :1])), dim=1)
    mean = _membrane(mesh, known, data, far, Stage(progress, 0, AVERAGED, DONE))
    average = mean[:, :-1] / mean[:, -1:].clamp(min=LEAST)
    fade = _membrane(mesh, known[:, -1:], weight, far, Stage(progress, AVERAGED, FADED, DONE))
    detail = _membrane(mesh, differences - average, weight, near, Stage(progress, FADED, DONE, DONE))
    return average * fade + detail


def _membrane(
    mesh: Mesh, known: torch.Tensor, data: torch.Tensor, pull: torch.Tensor, progress: Progress
) -> torch.Tensor:
    """(N, C) smooth values drawn to ``known`` (N, C) by ``data`` and, the less that is, to zero by ``pull`` (N,)."""
    trust = data + pull * (1.0 - data)
    return harmonic_fill(mesh.vertices, mesh.faces, known * (data / trust)[:, None], trust, progress)


def _mean_edges(mesh: Mesh) -> torch.Tensor:
    """(N,) mean length of the edges at each vertex."""
    edges = unique_edges(mesh.faces)[0]
    length = (mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]]).norm(dim=1).repeat(2)
    ends = edges.T.reshape(-1)
    count = length.new_zeros(len(mesh.vertices)).index_add(0, ends, torch.ones_like(length))
    return length.new_zeros(len(mesh.vertices)).index_add(0, ends, length) / count.clamp(min=1.0)
