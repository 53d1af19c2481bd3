"""Pictures in another size."""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate


def resize_squares(images: torch.Tensor, size: int) -> torch.Tensor:
    """(V, size, size, C) of square ``images`` (V, S, S, C) in [0, 1]; those of that size already as they are."""
    if images.shape[1] == size:
        return images
    planes = interpolate(images.movedim(-1, 1), size=(size, size), mode="bicubic", antialias=True)
    return planes.movedim(1, -1).clamp(0.0, 1.0)
