"""The edges of a mesh with the corners opposite to them, which is all a silhouette test needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..kernels import kernel, resolve_backend
from ..meshes.half_edges import sort_half_edges
from ..meshes.topology import unique_edges

Array = np.ndarray


@dataclass(frozen=True)
class Edges:
    """``ends`` (E, 2) int32, lower vertex first, sorted; ``start`` (E + 1,) int32 and ``opposite`` (3 M,) int32: the
    third corners of the faces at edge e are ``opposite[start[e]:start[e + 1]]``, in the order of the faces."""

    ends: torch.Tensor
    start: torch.Tensor
    opposite: torch.Tensor


def find_edges(faces: torch.Tensor, count: int, backend: str = "auto") -> Edges:
    """Edges of ``faces`` (M, 3) over ``count`` vertices; edges with one, two or more faces alike."""
    if resolve_backend(backend, faces) == "torch":
        ends, sides = unique_edges(faces.long(), "torch")
        side, order = torch.sort(sides.reshape(-1), stable=True)
        start = torch.searchsorted(side, torch.arange(len(ends) + 1, device=side.device))
        return Edges(ends.int(), start.int(), faces.roll(-2, 1).reshape(-1)[order].int())
    corners = faces.int().contiguous().numpy()
    found = sort_half_edges(corners, count)
    opposite = np.empty_like(found.order)
    name_opposite(corners.reshape(-1), found.order, opposite)
    return Edges(*(torch.from_numpy(array) for array in (found.edges, found.start, opposite)))


@kernel
def name_opposite(corners: Array, order: Array, opposite: Array) -> None:
    """Fill in the third corner of every half-edge's face."""
    for n in range(order.shape[0]):
        h = order[n]
        opposite[n] = corners[h + 2] if h % 3 == 0 else corners[h - 1]
