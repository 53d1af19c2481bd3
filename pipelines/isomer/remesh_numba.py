"""The remeshing pass as sequential numba kernels: the same rules, applied greedily.

Where the reference keeps only changes that rank highest in their neighbourhood, these kernels take candidates best
first and skip what an earlier change has touched, so that one pass does more.
Source: specs/kiss3dgen.md section 6.7, specs/kernels.md section 4.
"""

from __future__ import annotations

import numpy as np
import torch

from ..meshes.half_edges import sort_half_edges
from .remesh_kernels import (
    collapse_in_order,
    collapse_priorities,
    faces_beside,
    flip_gains,
    flip_in_order,
    mark_long,
    neighbours,
    pack,
    sum_neighbours,
    write_split,
)
from .remesh_torch import NOMINATION


class _Edges:
    """Edges of a face list, the edge of every side, and the faces beside every edge, as int32 arrays."""

    def __init__(self, faces: np.ndarray, count: int) -> None:
        found = sort_half_edges(faces, count)
        self.edges, self.sides, self.count = found.edges, found.sides, len(found.edges)
        self.faces = np.empty((self.count, 2), np.int32)
        faces_beside(faces, self.sides, self.faces)


def collapse(
    state: np.ndarray, faces: np.ndarray, minimum: np.ndarray, draw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Collapse edges that are too short or that bad faces name; ``draw`` (M,) in [0, 1) picks a bad face's edge."""
    count = len(state)
    mesh = _Edges(faces, count)
    normals = np.empty((count, 3), np.float32)
    length, priority = np.empty(mesh.count, np.float32), np.empty(mesh.count, np.float32)
    near, middle = NOMINATION
    collapse_priorities(
        state, minimum, faces, mesh.edges, mesh.count, mesh.sides, draw, near, middle, normals, length, priority
    )
    candidates = np.flatnonzero(priority > 0)
    if len(candidates) == 0:
        return state, faces
    order = candidates[np.argsort(-priority[candidates], kind="stable")].astype(np.int32)
    start, ring = np.empty(count + 1, np.int32), np.empty(2 * mesh.count, np.int32)
    neighbours(mesh.edges, mesh.count, count, start, ring)
    locked, valence, target = np.empty(count, np.uint8), np.empty(count, np.int32), np.empty(count, np.int32)
    kept = collapse_in_order(state, faces, mesh.edges, mesh.faces, order, start, ring, locked, valence, target)
    faces = faces[:kept]
    return state[: pack(state, faces, target)], faces


def split(state: np.ndarray, faces: np.ndarray, maximum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the edges that are longer than ``maximum`` (V,), averaged over their ends, in the middle."""
    mesh = _Edges(faces, len(state))
    middle = np.empty(mesh.count, np.int32)
    added = mark_long(state, maximum, mesh.edges, mesh.count, middle)
    if added == 0:
        return state, faces
    new_state = np.empty((len(state) + added, state.shape[1]), np.float32)
    # Each cut side makes a face; an edge may have more than two, as where the halves of a flat solid touch.
    new_faces = np.empty((len(faces) + int((middle[mesh.sides] >= 0).sum()), 3), np.int32)
    total = write_split(state, faces, mesh.edges, mesh.count, mesh.sides, middle, new_state, new_faces)
    return new_state, new_faces[:total]


def flip(state: np.ndarray, faces: np.ndarray, generator: torch.Generator) -> None:
    """Even out the valences by flipping edges, in place; ``generator`` orders equal gains, so that none is favoured."""
    count = len(state)
    mesh = _Edges(faces, count)
    valence, gain = np.empty(count, np.int32), np.empty(mesh.count, np.int32)
    opposite = np.empty((mesh.count, 2), np.int32)
    flip_gains(faces, mesh.edges, mesh.count, mesh.faces, valence, opposite, gain)
    candidates = np.flatnonzero(gain < 0)
    candidates = candidates[torch.randperm(len(candidates), generator=generator).numpy()]
    order = candidates[np.argsort(gain[candidates], kind="stable")].astype(np.int32)
    first = np.searchsorted(mesh.edges[: mesh.count, 0], np.arange(count + 1)).astype(np.int32)
    used, locked = np.zeros(len(faces), np.uint8), np.zeros(count, np.uint8)
    flip_in_order(state, faces, mesh.edges, mesh.faces, opposite, order, first, mesh.edges, valence, used, locked)


def neighbour_sums(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of the neighbours (N, C) and their number (N,) int32. See ``isomer.smooth.neighbour_sums``; CPU only."""
    mesh = _Edges(faces.to(torch.int32).numpy(), len(vertices))
    values = vertices.detach().contiguous().numpy()
    sums, degree = np.zeros_like(values), np.zeros(len(values), np.int32)
    sum_neighbours(values, mesh.edges, mesh.count, sums, degree)
    return torch.from_numpy(sums), torch.from_numpy(degree)


def remesh(
    state: torch.Tensor,
    faces: torch.Tensor,
    minimum: torch.Tensor,
    maximum: torch.Tensor,
    most_vertices: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Collapse, split and flip once. See ``isomer.remesh.remesh``; CPU tensors only."""
    channels = state.shape[1]
    limits = torch.stack((minimum, maximum), dim=1)
    values = torch.cat((state, limits), dim=1).numpy()
    triangles = faces.to(torch.int32, copy=True).numpy()
    draw = torch.rand(len(faces), generator=generator).numpy()
    values, triangles = collapse(values, triangles, np.ascontiguousarray(values[:, channels]), draw)
    if len(values) < most_vertices:
        values, triangles = split(values, triangles, np.ascontiguousarray(values[:, channels + 1]))
    flip(values, triangles, generator)
    return torch.from_numpy(values[:, :channels].copy()), torch.from_numpy(triangles).long()
