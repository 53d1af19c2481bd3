"""From decoded voxels to the lattice that the next stage fills.

Source: specs/pixal3d.md section 1.1, steps 3 and 6.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from .sparse_voxels import unique_rows

MOST_TOKENS = 49152
LEAST_RESOLUTION = 1024
STEP = 128
VOXELS_PER_TOKEN = 16


def occupied_coords(logits: torch.Tensor, resolution: int) -> torch.Tensor:
    """(N, 4) int32 voxels of ``resolution``^3 in which any of the positive ``logits`` (B, 1, S, S, S) lies.

    Raises Bundle3DError for a resolution that does not divide S, and for batch items without any.
    """
    if logits.ndim != 5 or logits.shape[1] != 1 or logits.shape[2] % resolution:
        raise Bundle3DError(
            f"Expected logits of shape (B, 1, S, S, S) with S a multiple of {resolution}, but got "
            f"{tuple(logits.shape)}; choose another resolution."
        )
    occupied = torch.nn.functional.max_pool3d((logits[:, 0] > 0).float(), logits.shape[2] // resolution)
    empty = [item for item, any_ in enumerate(occupied.flatten(1).any(1).tolist()) if not any_]
    if empty:
        raise Bundle3DError(
            f"Expected an object in every structure, but number {empty[0] + 1} of {len(occupied)} is empty; try "
            "another seed or check the photo's mask."
        )
    return torch.nonzero(occupied).int()


def requantise(coords: torch.Tensor, source: int, target: int) -> torch.Tensor:
    """(M, 4) int32 unique voxels of ``target``^3 corner-aligned points that lie nearest to ``coords`` (N, 4).

    ``coords`` count cells of ``source``^3. Halves are rounded to the even voxel.
    """
    # Exact in float32: numerators stay below 2^24 and the source is a power of two.
    nearest = ((coords[:, 1:].float() + 0.5) / source * (target - 1)).round().int()
    return unique_rows(torch.cat((coords[:, :1], nearest), dim=1), target)


def cascade_coords(
    coords: torch.Tensor, source: int, resolution: int, most_tokens: int = MOST_TOKENS
) -> tuple[torch.Tensor, int]:
    """Voxels (M, 4) of the finer stage from ``coords`` (N, 4) of ``source``^3 cells, and the resolution they allow.

    The lattice has a sixteenth of the resolution. While it has ``most_tokens`` voxels or more, the resolution is
    lowered by 128, but not below 1024.
    """
    while True:
        found = requantise(coords, source, resolution // VOXELS_PER_TOKEN)
        if found.shape[0] < most_tokens or resolution <= LEAST_RESOLUTION:
            return found, resolution
        resolution = max(resolution - STEP, LEAST_RESOLUTION)
