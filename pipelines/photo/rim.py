"""The object's own colours where the background shines through its rim."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from ..views.masks import soften_mask

OPAQUE = 0.95  # from here on a pixel shows the object alone
REACH = 0.01  # of the image's longer side, and at least 4 pixels: how far from opaque pixels colours are taken


def clean_rim(rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """``rgb`` (H, W, 3) in which pixels of partial ``alpha`` (H, W) take on the mean colour of opaque ones nearby.

    What they keep of their own colour is the square of alpha: a pixel that is mixed with the background loses most of
    it, one that has the object's colour already hardly changes. Far from opaque pixels, as within glass, all stays.
    """
    pixels, share = rgb.detach().cpu().numpy().astype(np.float32), alpha.detach().cpu().numpy()
    width = 2 * max(4, round(REACH * max(share.shape))) + 1
    opaque = (share >= OPAQUE).astype(np.float32)
    weight = ndimage.uniform_filter(opaque, width)
    nearby = np.stack([ndimage.uniform_filter(pixels[..., i] * opaque, width) for i in range(3)], axis=-1)
    nearby /= np.maximum(weight, 1e-6)[..., None]
    reached = weight > 0.5 / width**2  # at least one opaque pixel; less is rounding
    kept = np.where(reached & (opaque == 0), share**2, 1.0)[..., None]
    return torch.from_numpy(np.clip(kept * pixels + (1.0 - kept) * nearby, 0.0, 1.0)).to(rgb)


def unmix_rim(rgb: torch.Tensor, mask: torch.Tensor, background: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Own colours (H, W, 3) and coverage (H, W) of an object in ``mask`` (H, W) of 0 and 1 on ``background`` (3,).

    A rim pixel of the drawing ``rgb`` (H, W, 3) mixes the background with the colours just inside, which tell how much
    of either it holds, as in `soften_mask`; mixtures stay mixtures where all colours are shifted to put it on white.
    """
    coverage = soften_mask(mask[None], (rgb + 1.0 - background)[None])[0]
    share = torch.where(coverage > 0.0, coverage, 1.0)[..., None]
    return ((rgb - (1.0 - share) * background) / share).clamp(0.0, 1.0), coverage
