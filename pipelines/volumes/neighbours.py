"""Which voxels lie beside each other: the 27 neighbours of every occupied voxel."""

from __future__ import annotations

import torch

from .sparse_voxels import check_coords, voxel_keys

NEIGHBOURS = 27
CENTRE = 13
NOBODY = -1


def neighbour_map(coords: torch.Tensor, resolution: int) -> torch.Tensor:
    """(27, N) int32 rows of the neighbours of ``coords`` (N, 4) int32 in lattices of ``resolution``^3, -1 for none.

    Row (kx * 3 + ky) * 3 + kz holds the neighbours at offset (kx - 1, ky - 1, kz - 1), of the same batch item.
    """
    check_coords(coords, resolution)
    # A margin of one voxel keeps the neighbours of a face from being found at the opposite one.
    padded = coords + coords.new_tensor((0, 1, 1, 1))
    size = resolution + 2
    keys, order = voxel_keys(padded, size).sort()
    found = torch.full((NEIGHBOURS, coords.shape[0]), NOBODY, dtype=torch.int32, device=coords.device)
    rows = order.int()
    found[CENTRE] = torch.arange(coords.shape[0], dtype=torch.int32, device=coords.device)
    for k in range(CENTRE + 1, NEIGHBOURS):
        step = ((k // 9 - 1) * size + k // 3 % 3 - 1) * size + k % 3 - 1
        place = torch.searchsorted(keys, keys + step).clamp_(max=max(keys.shape[0] - 1, 0))
        here = (keys[place] == keys + step).nonzero().squeeze(1)
        there = place[here]
        found[k, order[here]] = rows[there]
        found[NEIGHBOURS - 1 - k, order[there]] = rows[here]
    return found
