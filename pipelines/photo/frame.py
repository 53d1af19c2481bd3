"""The object in the middle of a square, as multi-view models want it. Source: specs/kiss3dgen.md 3.1 and B3."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..errors import Bundle3DError
from ..views.masks import mask_box
from ..views.resize import resize_squares

RATIO = 0.85  # of the square's side that the object's longer side takes
SMALLEST = 16  # pixels
LARGEST = 8192  # pixels
LARGEST_SQUARE = 2 * LARGEST  # pixels of the photo
BACKGROUNDS = {"white": 1.0, "grey": 127.0 / 255.0, "black": 0.0}
OBJECTS = ("automatic", "largest", "all")
FRAMINGS = ("object", "reference")
VISIBLE = 0.1  # the least alpha that counts for the box: mattes have a faint haze
APART = 0.03  # of the image's diagonal: pieces nearer to each other are one object
SPECK = 0.01  # of the largest piece's area: what is smaller is no object


@dataclass(frozen=True)
class Framed:
    """``rgb`` (S, S, 3) on the background and ``alpha`` (S, S), float in [0, 1]; ``square``, left, top and side of the
    square in pixels of the photo, which it may overhang; ``kept`` (H, W), the photo's alpha without the objects that
    were left out; ``notes``, sentences on what was chosen.
    """

    rgb: torch.Tensor
    alpha: torch.Tensor
    square: tuple[int, int, int]
    kept: torch.Tensor
    notes: tuple[str, ...] = ()


def frame_object(
    rgb: torch.Tensor,
    alpha: torch.Tensor,
    size: int = 0,
    ratio: float = RATIO,
    background: str = "white",
    objects: str = "automatic",
    framing: str = "object",
) -> Framed:
    """The object cut to its box and centred in a square of ``size`` pixels; 0 keeps the photo's own resolution.

    rgb (H, W, 3) and alpha (H, W) in [0, 1]. ``objects``: automatic keeps the largest where several stand clearly
    apart, largest the largest connected piece, all everything. ``framing`` reference frames the whole photo without its
    last row and column, as the reference does, for its box takes the background in. Raises Bundle3DError for an empty
    alpha, values out of range, and an object that takes too large a square.
    """
    _check(size, ratio, background, objects, framing)
    notes: list[str] = []
    height, width = alpha.shape
    if framing == "reference":
        left, top, right, bottom = 0, 0, width - 1, height - 1
    else:
        alpha = alpha * _kept(alpha, objects, notes).to(alpha)
        left, top, right, bottom = mask_box(alpha >= VISIBLE)
        if left == 0 or top == 0 or right == width or bottom == height:
            notes.append("The object touches the edge of the photo; what lies beyond is missing.")
    side = max(1, int(max(right - left, bottom - top) / ratio))
    if side > LARGEST_SQUARE:
        raise Bundle3DError(
            f"Expected a square of at most {LARGEST_SQUARE:,} pixels around the object, but a ratio of {ratio:g} takes "
            f"{side:,}; raise the ratio, or use a smaller photo."
        )
    x, y = left - (side - (right - left)) // 2, top - (side - (bottom - top)) // 2
    weighted = torch.cat([rgb * alpha[..., None], alpha[..., None]], dim=-1)
    square = torch.zeros(side, side, 4, dtype=rgb.dtype, device=rgb.device)
    square[top - y : bottom - y, left - x : right - x] = weighted[top:bottom, left:right]
    square = resize_squares(square[None], size or max(SMALLEST, side))[0]
    share = square[..., 3]
    on_background = square[..., :3] + (1.0 - share[..., None]) * BACKGROUNDS[background]
    return Framed(on_background.clamp(0.0, 1.0), share, (x, y, side), alpha, tuple(notes))


def _check(size: int, ratio: float, background: str, objects: str, framing: str) -> None:
    if size and not SMALLEST <= size <= LARGEST:
        raise Bundle3DError(f"Expected a size of {SMALLEST} to {LARGEST} pixels, but got {size}; choose 512.")
    if not 0.1 <= ratio <= 1.0:
        raise Bundle3DError(f"Expected a ratio of 0.1 to 1, but got {ratio:g}; choose {RATIO}.")
    for value, known in ((background, tuple(BACKGROUNDS)), (objects, OBJECTS), (framing, FRAMINGS)):
        if value not in known:
            raise Bundle3DError(f"Expected one of {', '.join(known)}, but got {value!r}; choose one of these.")


def _kept(alpha: torch.Tensor, objects: str, notes: list[str]) -> torch.Tensor:
    """(H, W) bool: which pixels belong to what is kept; each pixel goes with the piece that is nearest to it."""
    solid = (alpha > 0.5).cpu().numpy()
    everything = torch.ones(alpha.shape, dtype=torch.bool, device=alpha.device)
    if objects == "all" or not solid.any():
        return everything
    pieces, count = ndimage.label(solid, structure=np.ones((3, 3), dtype=int))
    if count == 1:
        return everything
    distance, nearest = ndimage.distance_transform_edt(~solid, return_indices=True)
    if objects == "automatic":
        gap = APART * float(np.hypot(*alpha.shape))
        groups, _ = ndimage.label(distance <= gap / 2, structure=np.ones((3, 3), dtype=int))
        pieces = np.where(solid, groups, 0)
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    largest = int(areas.argmax())
    several = int((areas >= SPECK * areas[largest]).sum())
    if several > 1:
        notes.append(
            f"Of {several} objects the largest is kept, {areas[largest] / areas.sum():.0%} of them all; choose all to "
            "keep the others."
        )
    return torch.from_numpy(pieces[nearest[0], nearest[1]] == largest).to(alpha.device)
