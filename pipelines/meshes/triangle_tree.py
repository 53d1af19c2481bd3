"""Nearest points on a triangle mesh, exact at any distance and for any triangles, for millions of queries.

Triangles are bound by a complete binary tree of boxes, each cut at the median of its longest side; its depth is known
from their number, so that no stack can overflow. The mesh may be open, non-manifold and have degenerate faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..kernels import resolve_backend, run_jobs
from ..progress import Progress, silent
from .triangle_tree_numba import cut_nodes, fill_boxes, search
from .triangle_tree_torch import search_torch

LEAF = 4  # triangles per leaf
CHUNK = 1 << 16  # queries per job
AT_ONCE = 16  # jobs between two looks at the progress
SUBTREES = 16  # of the tree that are cut independently


@dataclass(frozen=True)
class Closest:
    """For Q queries the nearest face: ``face`` (Q,) int64, -1 where none is within the limit; ``weights`` (Q, 3)
    float32, barycentrics of the nearest point on it; ``distance`` (Q,) float32, the limit where there is none."""

    face: torch.Tensor
    weights: torch.Tensor
    distance: torch.Tensor

    def interpolate(self, values: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
        """(Q, C) vertex values (N, C) at the nearest points; every query must have found a face."""
        corners = faces.index_select(0, self.face)
        total = values.new_zeros((corners.shape[0], values.shape[1]))
        for i in range(3):
            total = total + self.weights[:, i, None].to(values) * values.index_select(0, corners[:, i])
        return total


class TriangleTree:
    """Answers nearest-point queries for ``faces`` (M, 3) int64 of ``vertices`` (N, 3), on their device.

    ``corners`` (M, 3, 3) float32 are the triangles in the order of the leaves and ``order`` (M,) their faces. ``low``
    and ``high`` (2 P, 3) float32 bound the nodes of the tree: node 1 is the root, 2 n and 2 n + 1 are the children of
    n, and the last P nodes are the leaves, of LEAF triangles each; boxes without any are turned inside out.

    Raises Bundle3DError for a mesh without faces.
    """

    def __init__(self, vertices: torch.Tensor, faces: torch.Tensor, backend: str = "auto") -> None:
        if faces.shape[0] == 0:
            raise Bundle3DError("Expected a surface to measure distances to, but it has no faces; check the mesh.")
        points = vertices.detach().float()
        self.vertices, self.faces = points, faces
        self.backend = resolve_backend(backend, points)
        leaves = 1 << (-(-faces.shape[0] // LEAF) - 1).bit_length()
        self.order = _median_order(points, faces, leaves, self.backend)
        self.corners = points.index_select(0, faces.index_select(0, self.order).reshape(-1)).reshape(-1, 3, 3)
        self.low, self.high = _boxes(self.corners, leaves, self.backend)

    def closest(self, points: torch.Tensor, limit: float = math.inf, progress: Progress = silent) -> Closest:
        """The nearest points to ``points`` (Q, 3) that are nearer than ``limit``; neighbouring queries go faster.

        ``progress`` may cancel between chunks.
        """
        queries = points.detach().to(self.corners).contiguous()
        count = queries.shape[0]
        face = torch.empty(count, dtype=torch.int64, device=queries.device)
        weights, distance = torch.empty_like(queries), queries.new_empty(count)
        starts = range(0, count, CHUNK)
        for first in range(0, len(starts), AT_ONCE):
            batch = [(start, min(start + CHUNK, count)) for start in starts[first : first + AT_ONCE]]
            run_jobs(lambda start, stop: self._search(queries, limit, start, stop, face, weights, distance), batch)
            progress(batch[-1][1], count)
        return Closest(face, weights, distance)

    def _search(
        self,
        queries: torch.Tensor,
        limit: float,
        start: int,
        stop: int,
        face: torch.Tensor,
        weights: torch.Tensor,
        distance: torch.Tensor,
    ) -> None:
        part = slice(start, stop)
        if self.backend == "torch":
            found = search_torch(self.corners, self.low, self.high, LEAF, queries[part], limit)
            position, weights[part], distance[part] = found
        else:
            position = torch.empty(stop - start, dtype=torch.int64)
            search(
                self.corners.numpy(),
                self.low.numpy(),
                self.high.numpy(),
                LEAF,
                queries[part].numpy(),
                limit,
                position.numpy(),
                weights[part].numpy(),
                distance[part].numpy(),
            )
        face[part] = torch.where(position >= 0, self.order[position.clamp(min=0)], -1)


def _median_order(points: torch.Tensor, faces: torch.Tensor, leaves: int, backend: str) -> torch.Tensor:
    """(M,) the faces such that every node of the tree is cut at the median of its longest side."""
    centre = sum((points.index_select(0, faces[:, i]) for i in range(1, 3)), points.index_select(0, faces[:, 0])) / 3.0
    count, size = faces.shape[0], leaves * LEAF
    order = torch.arange(count, device=points.device)
    if backend == "numba":
        places, positions = centre.numpy(), order.numpy()
        piece = max(size // SUBTREES, LEAF)
        cut_nodes(places, positions, 0, count, size, piece)
        run_jobs(
            lambda start: cut_nodes(places, positions, start, min(start + piece, count), piece, LEAF),
            [(start,) for start in range(0, count, piece)],
        )
        return order
    while size > LEAF:
        node = torch.arange(count, device=points.device) // size
        index = node[:, None].expand(-1, 3)
        low = centre.new_full((leaves, 3), math.inf).scatter_reduce(0, index, centre, "amin")
        high = centre.new_full((leaves, 3), -math.inf).scatter_reduce(0, index, centre, "amax")
        axis = (high - low).argmax(1).index_select(0, node)
        along = centre.gather(1, axis[:, None])[:, 0]
        by_place = torch.argsort(along)
        change = by_place.index_select(0, torch.argsort(node.index_select(0, by_place), stable=True))
        order, centre = order.index_select(0, change), centre.index_select(0, change)
        size //= 2
    return order


def _boxes(corners: torch.Tensor, leaves: int, backend: str) -> tuple[torch.Tensor, torch.Tensor]:
    low = corners.new_full((2 * leaves, 3), math.inf)
    high = corners.new_full((2 * leaves, 3), -math.inf)
    if backend == "numba":
        fill_boxes(corners.numpy(), LEAF, low.numpy(), high.numpy())
        return low, high
    leaf = torch.arange(corners.shape[0], device=corners.device)[:, None] // LEAF + leaves
    index = leaf.expand(-1, 3)
    low.scatter_reduce_(0, index, corners.amin(1), "amin")
    high.scatter_reduce_(0, index, corners.amax(1), "amax")
    first = leaves // 2
    while first:
        own, children = slice(first, 2 * first), slice(2 * first, 4 * first)
        low[own] = low[children].reshape(-1, 2, 3).amin(1)
        high[own] = high[children].reshape(-1, 2, 3).amax(1)
        first //= 2
    return low, high
