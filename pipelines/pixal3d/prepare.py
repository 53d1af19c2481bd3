"""Pictures as Pixal3D was trained to see them: the object in the middle of a square on black.

Source: specs/pixal3d.md sections 1.3 and 2.1.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from ..errors import Bundle3DError
from ..views.masks import border_pixels

LARGEST = 1024  # pixels of the longer side before the crop
MARGIN = 1.1  # side of the square as a multiple of the object's longer side
VISIBLE = 0.8 * 255  # alpha above which a pixel belongs to the object
LEAST = 2  # pixels of a square
BLACK = 16 / 255  # up to which a pixel counts as black, for files are compressed


def crop_on_black(rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The object of a photo (H, W, 3) with ``alpha`` (H, W), both in [0, 1], as (S, S, 3) on black, in 8 bit.

    The photo is shrunk to LARGEST pixels, never enlarged; the square may overhang it. Raises Bundle3DError where alpha
    shows no object, or one that is too small.
    """
    _check(rgb, alpha)
    photo = Image.fromarray(_bytes(torch.cat((rgb, alpha[..., None]), dim=-1)))
    scale = LARGEST / max(photo.size)
    if scale < 1:
        photo = photo.resize((int(photo.width * scale), int(photo.height * scale)), Image.Resampling.LANCZOS)
    rows, columns = np.nonzero(np.asarray(photo)[..., 3] > VISIBLE)
    if not len(rows):
        raise Bundle3DError(
            "Expected an object in the photo, but its mask is empty; check the mask or remove the background again."
        )
    low, high = np.array((columns.min(), rows.min())), np.array((columns.max(), rows.max()))
    half = int(MARGIN * int((high - low).max())) // 2
    if 2 * half < LEAST:
        raise Bundle3DError("Expected an object of some pixels in the photo, but its mask has one; check the mask.")
    middle = (low + high) / 2
    left, top, right, bottom = (round(float(edge)) for edge in (*(middle - half), *(middle + half)))
    return _on_black(np.asarray(photo.crop((left, top, right, bottom))))


def on_black(rgb: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """A view (H, W, 3) with ``alpha`` (H, W), both in [0, 1], on black in 8 bit, uncropped: its camera is known."""
    _check(rgb, alpha)
    return _on_black(_bytes(torch.cat((rgb, alpha[..., None]), dim=-1)))


def is_on_black(rgb: torch.Tensor) -> bool:
    """Whether most of the border of a picture (H, W, 3) in [0, 1] is black."""
    return float(border_pixels(_shown(rgb)[None, ..., None].float()).mean()) <= 0.5


def not_black(rgb: torch.Tensor) -> torch.Tensor:
    """(H, W) of 0 and 1: where a picture on black (H, W, 3) shows the object, if nothing else tells.

    Black that the object encloses counts as its own. Raises Bundle3DError for a picture that is not on black.
    """
    if not is_on_black(rgb):
        raise Bundle3DError(
            "Expected a mask, or a picture on black, but most of the picture's border is not black; connect the mask "
            "of Pixal3D Prepare or Load Photo."
        )
    return torch.from_numpy(ndimage.binary_fill_holes(_shown(rgb).cpu().numpy())).float()


def _shown(rgb: torch.Tensor) -> torch.Tensor:
    """(H, W) of whether a pixel is not black."""
    return rgb.amax(-1) > BLACK


def _on_black(rgba: np.ndarray) -> torch.Tensor:
    """Colours times alpha; what is more than a whole level is cut off, as in training."""
    values = rgba.astype(np.float32) / 255
    product = np.clip(values[..., :3] * values[..., 3:], 0, 1)
    return torch.from_numpy((product * 255).astype(np.uint8).astype(np.float32) / 255)


def _bytes(values: torch.Tensor) -> np.ndarray:
    bytes_: np.ndarray = (values.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return bytes_


def _check(rgb: torch.Tensor, alpha: torch.Tensor) -> None:
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or alpha.shape != rgb.shape[:2]:
        raise Bundle3DError(
            f"Expected a picture (H, W, 3) and a mask (H, W) of the same size, but got {tuple(rgb.shape)} and "
            f"{tuple(alpha.shape)}; give the picture's own mask."
        )
