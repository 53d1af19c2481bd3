"""Which voxels lie beside each other: the 27 neighbours of every occupied voxel."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import Bundle3DError
from ..kernels import kernel, resolve_backend, run_jobs
from .sparse_voxels import check_coords, voxel_keys

NEIGHBOURS = 27
CENTRE = 13
NOBODY = -1

Array = np.ndarray


def neighbour_map(coords: torch.Tensor, resolution: int, backend: str = "auto") -> torch.Tensor:
    """(27, N) int32 rows of the neighbours of ``coords`` (N, 4) int32 in lattices of ``resolution``^3, -1 for none.

    Row (kx * 3 + ky) * 3 + kz holds the neighbours at offset (kx - 1, ky - 1, kz - 1), of the same batch item. Source:
    specs/kernels.md section 6.

    Raises Bundle3DError for voxels outside of the lattice, unsorted batch items and voxels that occur twice.
    """
    check_coords(coords, resolution)
    # A margin of one voxel keeps the neighbours of a face from being found at the opposite one.
    size = resolution + 2
    keys, order = voxel_keys(coords + coords.new_tensor((0, 1, 1, 1)), size).sort()
    if bool((keys[1:] == keys[:-1]).any()):
        raise Bundle3DError("Expected every voxel once, but some occur twice; use unique_rows.")
    rows = order.int()
    found = torch.empty(NEIGHBOURS, coords.shape[0], dtype=torch.int32, device=coords.device)
    found[CENTRE] = torch.arange(coords.shape[0], dtype=torch.int32, device=coords.device)
    sweep = _sweep_numba if resolve_backend(backend, coords) == "numba" else _sweep_torch
    # Neighbourhood is mutual: what lies before a voxel is found together with what lies behind its neighbour.
    ahead = range(CENTRE + 1, NEIGHBOURS)
    steps = (((k // 9 - 1) * size + k // 3 % 3 - 1) * size + k % 3 - 1 for k in ahead)
    sweep(keys, rows, [(step, found[k], found[NEIGHBOURS - 1 - k]) for k, step in zip(ahead, steps)])
    return found


def _sweep_torch(keys: torch.Tensor, rows: torch.Tensor, offsets: list[tuple[int, torch.Tensor, torch.Tensor]]) -> None:
    """Fill, for each step of the ascending ``keys`` (N,), the neighbours there and at its opposite, both (N,)."""
    last = max(keys.shape[0] - 1, 0)
    for step, ahead, behind in offsets:
        place = torch.searchsorted(keys, keys + step).clamp_(max=last)
        here = (keys[place] == keys + step).nonzero().squeeze(1)
        owner, neighbour = rows[here], rows[place[here]]
        ahead.fill_(NOBODY)[owner.long()] = neighbour
        behind.fill_(NOBODY)[neighbour.long()] = owner


def _sweep_numba(keys: torch.Tensor, rows: torch.Tensor, offsets: list[tuple[int, torch.Tensor, torch.Tensor]]) -> None:
    """As `_sweep_torch`, by one walk along the keys for each step."""
    run_jobs(
        lambda step, ahead, behind: _sweep(keys.numpy(), rows.numpy(), step, ahead.numpy(), behind.numpy()), offsets
    )


@kernel
def _sweep(keys: Array, rows: Array, step: int, ahead: Array, behind: Array) -> None:
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
            ahead[rows[here]] = rows[there]
            behind[rows[there]] = rows[here]
