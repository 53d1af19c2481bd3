"""Which voxels lie beside each other: the 27 neighbours of every occupied voxel."""

from __future__ import annotations

import numpy as np
import torch

from ..kernels import kernel, resolve_backend, run_jobs
from .sparse_voxels import check_coords, voxel_keys

NEIGHBOURS = 27
CENTRE = 13
NOBODY = -1

Array = np.ndarray


def neighbour_map(coords: torch.Tensor, resolution: int, backend: str = "auto") -> torch.Tensor:
    """(27, N) int32 rows of the neighbours of ``coords`` (N, 4) int32 in lattices of ``resolution``^3, -1 for none.

    Row (kx * 3 + ky) * 3 + kz holds the neighbours at offset (kx - 1, ky - 1, kz - 1), of the same batch item. No voxel
    may occur twice. Source: specs/kernels.md section 6.
    """
    check_coords(coords, resolution)
    # A margin of one voxel keeps the neighbours of a face from being found at the opposite one.
    size = resolution + 2
    keys = voxel_keys(coords + coords.new_tensor((0, 1, 1, 1)), size)
    steps = [((k // 9 - 1) * size + k // 3 % 3 - 1) * size + k % 3 - 1 for k in range(CENTRE + 1, NEIGHBOURS)]
    if resolve_backend(backend, coords) == "numba":
        return _neighbours_numba(keys.numpy(), steps)
    return _neighbours_torch(keys, steps)


def _neighbours_torch(keys: torch.Tensor, steps: list[int]) -> torch.Tensor:
    count = keys.shape[0]
    found = torch.full((NEIGHBOURS, count), NOBODY, dtype=torch.int32, device=keys.device)
    found[CENTRE] = torch.arange(count, dtype=torch.int32, device=keys.device)
    ascending, order = keys.sort()
    rows = order.int()
    # Neighbourhood is mutual: what lies behind a voxel is found together with what lies before its neighbour.
    for k, step in enumerate(steps, CENTRE + 1):
        wanted = ascending + step
        place = torch.searchsorted(ascending, wanted).clamp_(max=max(count - 1, 0))
        here = (ascending[place] == wanted).nonzero().squeeze(1)
        there = place[here]
        found[k, order[here]] = rows[there]
        found[NEIGHBOURS - 1 - k, order[there]] = rows[here]
    return found


def _neighbours_numba(keys: Array, steps: list[int]) -> torch.Tensor:
    count = keys.shape[0]
    order = np.arange(count, dtype=np.int32)
    if not bool((keys[1:] > keys[:-1]).all()):
        order = np.argsort(keys).astype(np.int32)
        keys = keys[order]
    found = torch.empty(NEIGHBOURS, count, dtype=torch.int32, device="cpu")
    rows = found.numpy()
    rows[CENTRE] = np.arange(count, dtype=np.int32)
    run_jobs(lambda k, step: _sweep(keys, order, step, rows[k], rows[NEIGHBOURS - 1 - k]), enumerate(steps, CENTRE + 1))
    return found


@kernel
def _sweep(keys: Array, order: Array, step: int, ahead: Array, behind: Array) -> None:
    """Fill the neighbours (N,) at an offset and at its opposite, by one walk along the ascending ``keys`` (N,)."""
    count = keys.shape[0]
    for i in range(count):
        ahead[i] = NOBODY
        behind[i] = NOBODY
    there = 0
    for here in range(count):
        wanted = keys[here] + step
        while there < count and keys[there] < wanted:
            there += 1
        if there == count:
            break
        if keys[there] == wanted:
            ahead[order[here]] = order[there]
            behind[order[there]] = order[here]
