"""The edges of a mesh with the corners opposite to them, which is all a silhouette test needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..kernels import kernel, resolve_backend

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
        return _find_edges_torch(faces.long(), count)
    total = 3 * faces.shape[0]
    ends, start, opposite = np.empty((total, 2), np.int32), np.empty(total + 1, np.int32), np.empty(total, np.int32)
    scratch, bucket = np.empty(2 * total, np.int32), np.empty(count + 1, np.int32)
    found = sort_half_edges(faces.int().contiguous().numpy(), scratch, bucket, ends, start, opposite)
    return Edges(*(torch.from_numpy(array) for array in (ends[:found], start[: found + 1], opposite)))


def _find_edges_torch(faces: torch.Tensor, count: int) -> Edges:
    first, second = faces, faces.roll(-1, 1)
    key = (torch.minimum(first, second) * count + torch.maximum(first, second)).reshape(-1)
    key, order = torch.sort(key, stable=True)
    unique, size = torch.unique_consecutive(key, return_counts=True)
    low = torch.div(unique, max(count, 1), rounding_mode="floor")
    ends = torch.stack((low, unique - low * count), dim=1).int()
    start = torch.cat((size.new_zeros(1), size.cumsum(0))).int()
    return Edges(ends, start, faces.roll(-2, 1).reshape(-1)[order].int())


@kernel
def sort_half_edges(faces: Array, scratch: Array, bucket: Array, ends: Array, start: Array, opposite: Array) -> int:
    """Two stable counting sorts, by upper and then by lower vertex; returns the number of distinct edges."""
    total = 3 * faces.shape[0]
    for turn in range(2):
        for i in range(bucket.shape[0]):
            bucket[i] = 0
        for h in range(total):
            a, b = faces[h // 3, h % 3], faces[h // 3, (h + 1) % 3]
            bucket[(max(a, b) if turn == 0 else min(a, b)) + 1] += 1
        for i in range(1, bucket.shape[0]):
            bucket[i] += bucket[i - 1]
        for n in range(total):
            h = n if turn == 0 else scratch[n]
            a, b = faces[h // 3, h % 3], faces[h // 3, (h + 1) % 3]
            value = max(a, b) if turn == 0 else min(a, b)
            scratch[turn * total + bucket[value]] = h
            bucket[value] += 1
    found = 0
    low, high = np.int32(-1), np.int32(-1)
    for n in range(total):
        h = scratch[total + n]
        a, b = faces[h // 3, h % 3], faces[h // 3, (h + 1) % 3]
        if min(a, b) != low or max(a, b) != high:
            low, high = min(a, b), max(a, b)
            ends[found, 0] = low
            ends[found, 1] = high
            start[found] = n
            found += 1
        opposite[n] = faces[h // 3, (h + 2) % 3]
    start[found] = total
    return found
