"""Sets of lattice places as ascending int64 keys: looking up shifted keys, and joining a set with its own shift.

A place (x, y, z) has the key (x * Y + y) * Z + z, so that a step along an axis adds a constant, and all queries of one
step are ascending, too: a walk along both lists finds them without a search.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from ..kernels import kernel, resolve_backend, run_jobs, thread_count

Array = np.ndarray

MISSING = -1
PIECE = 1 << 18  # queries per job at least


def find_shifted(keys: torch.Tensor, queries: torch.Tensor, shift: int, backend: str = "auto") -> torch.Tensor:
    """(Q,) int64 positions of ``queries + shift`` in ``keys``, both ascending int64; -1 where a key is not there."""
    if keys.numel() == 0:
        return torch.full_like(queries, MISSING)
    if resolve_backend(backend, keys) == "torch":
        wanted = queries + shift
        position = torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)
        return torch.where(keys[position] == wanted, position, MISSING)
    found = torch.empty_like(queries)
    known, wanted_keys, positions = keys.numpy(), queries.numpy(), found.numpy()
    pieces = max(1, min(4 * thread_count(), queries.numel() // PIECE))
    bounds = [queries.numel() * i // pieces for i in range(pieces + 1)]
    run_jobs(lambda start, stop: _walk(known, wanted_keys, shift, start, stop, positions), pairwise(bounds))
    return found


def join_shifted(keys: torch.Tensor, shift: int, backend: str = "auto") -> torch.Tensor:
    """The ascending distinct keys among ``keys`` (K,) and ``keys + shift``; ``keys`` ascend and are distinct."""
    if resolve_backend(backend, keys) == "torch":
        return torch.unique(torch.cat((keys, keys + shift)))
    joined = np.empty(2 * keys.numel(), dtype=np.int64)
    count = _join(keys.numpy(), shift, joined)
    return torch.from_numpy(joined[:count].copy())


@kernel
def _walk(keys: Array, queries: Array, shift: int, start: int, stop: int, positions: Array) -> None:
    at = np.searchsorted(keys, queries[start] + shift) if start < stop else 0
    for n in range(start, stop):
        wanted = queries[n] + shift
        while at < keys.shape[0] and keys[at] < wanted:
            at += 1
        positions[n] = at if at < keys.shape[0] and keys[at] == wanted else -1


@kernel
def _join(keys: Array, shift: int, joined: Array) -> int:
    count, one, two = 0, 0, 0
    total = keys.shape[0]
    while one < total or two < total:
        shifted = keys[two] + shift
        if one < total and keys[one] <= shifted:
            joined[count] = keys[one]
            two += keys[one] == shifted
            one += 1
        else:
            joined[count] = shifted
            two += 1
        count += 1
    return count
