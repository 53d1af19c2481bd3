"""Small pictures of voxels, enlarged so that they can be looked at."""

from __future__ import annotations

import torch

SMALLEST = 256  # pixels of a side, at least


def enlarged(pictures: torch.Tensor) -> torch.Tensor:
    """``pictures`` (..., S, S, C) with every pixel as a square of pixels, so that a side has at least SMALLEST."""
    factor = -(-SMALLEST // pictures.shape[-2])
    return pictures.repeat_interleave(factor, -3).repeat_interleave(factor, -2)
