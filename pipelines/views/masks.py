"""How much of each pixel the object covers, from images on a white background.

A pixel at the rim of an antialiased image is a mixture: colour = a * foreground + (1 - a) * white. Two facts tell the
coverage a: the foreground colour is about that of the nearest pixels inside, and a normal without the white in it has
length one.
"""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, pad

from ..errors import Bundle3DError

# An RGB distance from white under which a foreground colour cannot tell coverage.
CONTRAST = 0.15
# Coverages this close to 0 or 1 are within the noise of 8-bit colours.
SNAP = 0.05
# An alpha channel that is nowhere below it says nothing of the object.
OPAQUE = 0.999


def soften_mask(mask: torch.Tensor, rgb: torch.Tensor, normals: torch.Tensor | None = None) -> torch.Tensor:
    """``mask`` (V, H, W) of 0 and 1 with the coverage of the rim pixels in place of their 0 or 1.

    ``rgb`` (V, H, W, 3) and the encoded ``normals`` (V, H, W, 3) lie on white. Pixels whose coverage cannot be told
    (nothing inside nearby, no contrast) keep their value. A hard-edged image gives ``mask`` back.
    """
    inside = _erode(mask)
    rim = (_dilate(mask) > 0.0) & (inside == 0.0)
    coverage, known = _coverage_by_neighbours(rgb, inside)
    if normals is not None:
        by_normals, normals_known = _coverage_by_neighbours(normals, inside)
        guess = torch.where(known, coverage, by_normals)
        coverage, known = _coverage_by_length(normals, guess), known | normals_known
    coverage = torch.where(coverage < SNAP, 0.0, torch.where(coverage > 1.0 - SNAP, 1.0, coverage))
    return torch.where(rim & known, coverage, mask)


def unmix_white(colors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Foreground colours (V, H, W, C) of ``colors`` that lie on white with coverage ``mask`` (V, H, W)."""
    share = torch.where(mask > 0.0, mask, 1.0)[..., None]
    return (1.0 - (1.0 - colors) / share).clamp(0.0, 1.0)


def border_pixels(images: torch.Tensor, width: int = 1) -> torch.Tensor:
    """The pixels (V, N, C) of the frame of ``width`` pixels inside the edge of images (V, H, W, C); corners twice."""
    sides = (images[:, :width], images[:, -width:], images[:, :, :width], images[:, :, -width:])
    return torch.cat([side.flatten(1, 2) for side in sides], dim=1)


def border_colors(images: torch.Tensor, width: int = 1) -> torch.Tensor:
    """The median colours (V, C) of that frame: what the background is, where the object touches little of it."""
    return border_pixels(images, width).median(dim=1).values


def flattened(images: torch.Tensor) -> torch.Tensor:
    """Images (..., 3 or 4) in [0, 1] as (..., 3): where there is alpha, which is straight, the colours on white."""
    if images.shape[-1] < 4:
        return images
    alpha = images[..., 3:4]
    return images[..., :3] * alpha + 1.0 - alpha


def white_behind(images: torch.Tensor, coverage: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Images (..., H, W, 3) of an object on ``background`` (..., 1, 1, 3) with white in the background's place.

    A rim pixel is coverage * object + (1 - coverage) * background with ``coverage`` (..., H, W): only the background's
    share of it changes. Where nothing is covered the image is white.
    """
    share = coverage[..., None]
    return torch.where(share > 0.0, images + (1.0 - share) * (1.0 - background), 1.0).clamp(0.0, 1.0)


def mask_box(solid: torch.Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is true in ``solid`` (H, W); the last two exclusive.

    Raises Bundle3DError where nothing is.
    """
    if not bool(solid.any()):
        raise Bundle3DError("Expected an object in the mask, but it is empty; cut the object out of the photo first.")
    rows, columns = solid.any(dim=1).nonzero(), solid.any(dim=0).nonzero()
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def reduced_masks(masks: torch.Tensor, longest: int) -> torch.Tensor:
    """``masks`` (V, H, W) as bool, their longer side at most ``longest`` pixels."""
    share = min(1.0, longest / max(masks.shape[1:]))
    size = [max(1, round(side * share)) for side in masks.shape[1:]]
    return interpolate(masks[:, None].float(), size=size, mode="bilinear", antialias=True)[:, 0] > 0.5


def _coverage_by_neighbours(colors: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Coverage if pixels mix white with the mean colour of the ``inside`` pixels nearby, and where that is known."""
    planes = torch.cat((colors * inside[..., None], inside[..., None]), dim=-1).permute(0, 3, 1, 2)
    sums = avg_pool2d(planes, 5, stride=1, padding=2, count_include_pad=True).permute(0, 2, 3, 1)
    share = sums[..., -1:]
    foreground = 1.0 - sums[..., :-1] / share.clamp(min=1e-6)
    contrast = (foreground * foreground).sum(-1)
    coverage = ((1.0 - colors) * foreground).sum(-1) / contrast.clamp(min=1e-6)
    return coverage.clamp(0.0, 1.0), (share[..., 0] > 1e-6) & (contrast > CONTRAST**2)


def _coverage_by_length(normals: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """The coverage at which the unmixed normal has length one: of two, the one nearer to ``guess``; of none, ``guess``.

    With s the decoded colour, w = (1, 1, 1) and b = 1 - a:  |s - b w| = 1 - b  gives
    2 b^2 - 2 b (s.w - 1) + |s|^2 - 1 = 0.
    """
    signed = 2.0 * normals - 1.0
    half = (signed.sum(-1) - 1.0) / 2.0
    square = half * half - ((signed * signed).sum(-1) - 1.0) / 2.0
    root = square.clamp(min=0.0).sqrt()
    first, second = ((1.0 - half - sign * root).clamp(0.0, 1.0) for sign in (-1.0, 1.0))
    nearer = torch.where((first - guess).abs() <= (second - guess).abs(), first, second)
    return torch.where(square >= 0.0, nearer, guess)


def _dilate(mask: torch.Tensor) -> torch.Tensor:
    return max_pool2d(mask[:, None], 3, stride=1, padding=1)[:, 0]


def _erode(mask: torch.Tensor) -> torch.Tensor:
    # The edge of the tile is not an edge of the object: what touches it goes on outside.
    padded = pad(mask[:, None], (1, 1, 1, 1), mode="replicate")
    return -max_pool2d(-padded, 3, stride=1)[:, 0]
