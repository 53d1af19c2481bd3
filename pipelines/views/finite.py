"""Pixels that are numbers."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError


def require_finite(*images: torch.Tensor) -> None:
    """Raises Bundle3DError where a pixel of ``images``, of any shape, is NaN or infinite."""
    if not all(bool(torch.isfinite(image).all()) for image in images):
        raise Bundle3DError(
            "Expected finite pixel values, but some are NaN or infinite; check where the image is made."
        )
