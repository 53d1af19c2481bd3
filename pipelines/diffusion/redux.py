"""A picture as words: FLUX Redux. Source: specs/kiss3dgen.md 3.5."""

from __future__ import annotations

import torch
from torch.nn import functional

from .models import Redux

REFERENCE_SIZE = 512  # pixels; the reference's pictures are of this size before SigLIP's own resizing


def redux_tokens(redux: Redux, image: torch.Tensor) -> torch.Tensor:
    """The (1, T, D) tokens that FLUX reads after T5's for an (H, W, 3) picture in [0, 1].

    T is 729 for SigLIP at 384 pixels. The picture becomes a square of 512 pixels (bilinear), then SigLIP's (bicubic),
    with values from -1 to 1. The caller multiplies the tokens by the strength.
    """
    size: int = redux.image_encoder.module.config.image_size
    pixels = image.float().movedim(-1, 0)[None]
    pixels = functional.interpolate(pixels, size=(REFERENCE_SIZE, REFERENCE_SIZE), mode="bilinear")
    pixels = functional.interpolate(pixels, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1) * 2 - 1
    with redux.image_encoder.use() as siglip:
        seen = siglip(
            pixels.to(redux.image_encoder.compute_device, redux.image_encoder.compute_dtype)
        ).last_hidden_state
    with redux.embedder.use() as embedder:
        tokens: torch.Tensor = embedder(
            seen.to(redux.embedder.compute_device, redux.embedder.compute_dtype)
        ).image_embeds
    return tokens
