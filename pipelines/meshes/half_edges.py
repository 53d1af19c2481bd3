"""The half-edges of a triangle list, sorted so that those of the same edge lie together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels import kernel

Array = np.ndarray


@dataclass(frozen=True)
class HalfEdges:
    """Half-edge 3 f + k runs from corner k of face f to the next one. All arrays are int32.

    ``edges`` (E, 2) lower vertex first, in ascending order; ``sides`` (M, 3) the edge of every half-edge; ``order``
    (3 M,) the half-edges edge by edge, in the order of the faces, those of edge e being
    ``order[start[e]:start[e + 1]]``, ``start`` (E + 1,).
    """

    edges: Array
    sides: Array
    order: Array
    start: Array


def sort_half_edges(faces: Array, count: int) -> HalfEdges:
    """Sort the half-edges of ``faces`` (M, 3) int32, contiguous, over ``count`` vertices.

    The time does not depend on how many faces meet. Compiled where numba is there, and slow where it is not.
    """
    total = 3 * len(faces)
    edges, start = np.empty((total, 2), np.int32), np.empty(total + 1, np.int32)
    sides, order = np.empty((len(faces), 3), np.int32), np.empty(total, np.int32)
    by_high, buckets = np.empty(total, np.int32), np.zeros((2, count + 1), np.int32)
    found = counting_sorts(faces.reshape(-1), by_high, buckets, edges, start, sides.reshape(-1), order)
    return HalfEdges(edges[:found], sides, order, start[: found + 1])


@kernel
def counting_sorts(
    corners: Array, by_high: Array, buckets: Array, edges: Array, start: Array, sides: Array, order: Array
) -> int:
    """Two stable counting sorts, by the upper and then by the lower vertex; returns the number of distinct edges."""
    total = corners.shape[0]
    for h in range(total):
        a = corners[h]
        b = corners[h + 1] if h % 3 < 2 else corners[h - 2]
        buckets[0, max(a, b) + 1] += 1
        buckets[1, min(a, b) + 1] += 1
    for v in range(buckets.shape[1] - 1):
        buckets[0, v + 1] += buckets[0, v]
        buckets[1, v + 1] += buckets[1, v]
    for h in range(total):
        high = max(corners[h], corners[h + 1] if h % 3 < 2 else corners[h - 2])
        by_high[buckets[0, high]] = h
        buckets[0, high] += 1
    for n in range(total):
        h = by_high[n]
        low = min(corners[h], corners[h + 1] if h % 3 < 2 else corners[h - 2])
        order[buckets[1, low]] = h
        buckets[1, low] += 1
    found = 0
    for n in range(total):
        h = order[n]
        a = corners[h]
        b = corners[h + 1] if h % 3 < 2 else corners[h - 2]
        low, high = min(a, b), max(a, b)
        if found == 0 or edges[found - 1, 0] != low or edges[found - 1, 1] != high:
            edges[found, 0] = low
            edges[found, 1] = high
            start[found] = n
            found += 1
        sides[h] = found - 1
    start[found] = total
    return found
