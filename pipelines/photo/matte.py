"""How much of every pixel is the object: by a mask, by the image's own alpha, or by a plain background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..errors import Bundle3DError
from ..views.finite import require_finite
from ..views.masks import OPAQUE, border_colors, border_pixels
from .rim import clean_rim, unmix_rim

CUTS = ("automatic", "mask", "alpha", "background colour")
ASPECT = 0.02  # relative difference in shape above which a mask belongs to another image

BORDER = 0.02  # of the shorter side: the width of the frame that shows the background
PLAIN_SHARE = 0.8  # of the frame that has to have the background's colour; objects may touch some of it
LOWEST, HIGHEST = 0.02, 0.06  # colour differences within the noise of a background
RAMP = 0.08  # of colour difference, from background to object
HOLE_SHARE, LEAST_HOLE = 0.0002, 16  # of the image, and in pixels: the least area of an enclosed piece of background

ADVICE = "cut it out with Load Background Removal Model and Remove Background, and connect the mask"
# The mask of ComfyUI's Load Image is 0 on the object, and 0 everywhere where the file has no alpha.
MASK_ADVICE = (
    "if it is the photo's own alpha, choose another photo or export it with its object, else leave it out, or switch "
    "invert_mask, which masks of ComfyUI's Load Image need on"
)
AROUND = "The mask is 1 along the photo's border: if it shows what is around the object, switch invert_mask on."
ALPHA_ADVICE = "export the photo with its object, choose another one, or cut it by the background's colour or a mask"


@dataclass(frozen=True)
class Matte:
    """``rgb`` (H, W, 3), the object's own colours, without the background's share in rim pixels; ``alpha`` (H, W) in
    [0, 1]; ``notes``, sentences on how it was found.
    """

    rgb: torch.Tensor
    alpha: torch.Tensor
    notes: tuple[str, ...] = ()


def cut_out(
    rgb: torch.Tensor,
    alpha: torch.Tensor | None = None,
    mask: torch.Tensor | None = None,
    by: str = "automatic",
    holes: bool = True,
) -> Matte:
    """The object in an image (H, W, 3) in [0, 1].

    ``mask`` (h, w), 1 on the object, of any size of the same shape; ``alpha`` (H, W), the image's own. ``by`` is one of
    ``CUTS``: automatic takes the first of mask, alpha and background colour that says anything. ``holes``: whether
    enclosed pieces of the background's colour are background. Raises Bundle3DError for an empty mask, a mask of another
    shape, what is asked for and not there, a background that is not of one colour, and pixels that are no numbers.
    """
    if by not in CUTS:
        raise Bundle3DError(f"Expected a way to cut out ({', '.join(CUTS)}), but got {by!r}; choose one of these.")
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or not rgb.numel():
        raise Bundle3DError(f"Expected an RGB image (H, W, 3), but got {tuple(rgb.shape)}; convert it to RGB.")
    require_finite(rgb, *(given for given in (alpha, mask) if given is not None))
    if by in ("automatic", "mask") and mask is not None and (by == "mask" or _says_something(mask)):
        share = _object_share(_fitted(mask, rgb), "mask", MASK_ADVICE)
        inverted = float(border_pixels(share[None, ..., None]).mean()) > 0.5 and _says_something(share)
        return Matte(clean_rim(rgb, share), share, ("Cut out by the mask.", *([AROUND] if inverted else [])))
    if by in ("automatic", "alpha") and alpha is not None and (by == "alpha" or _says_something(alpha)):
        return Matte(rgb, _object_share(alpha, "alpha channel", ALPHA_ADVICE), ("Cut out by the image's own alpha.",))
    if by in ("mask", "alpha"):
        raise Bundle3DError(f"Expected an image with its {by}, but none came; {ADVICE}.")
    return matte_by_color(rgb, holes)


def matte_by_color(rgb: torch.Tensor, holes: bool = True) -> Matte:
    """The object before a background of one colour, which the image's border shows.

    A pixel is background where its colour differs from the border's by no more than the border's own noise and where it
    hangs together with the border, or, with ``holes``, is an enclosed piece of some size. Where object and background
    mix, alpha rises with the difference, and the background's share is taken out of the colour. Raises Bundle3DError
    where less than 80 % of the border has one colour, and where nothing else is in the image.
    """
    pixels = rgb.detach().cpu().numpy().astype(np.float32)
    background, noise = _background(rgb.detach().cpu().float())
    difference = np.abs(pixels - background).max(axis=-1)
    outside = _outside(difference <= noise + RAMP / 2, difference <= noise, holes)
    # Only near the outside is a faint difference a mixture; inside it is the object's own colour.
    rim = ndimage.binary_dilation(outside, iterations=2)
    alpha = np.where(rim, np.clip((difference - noise) / RAMP, 0.0, 1.0), 1.0).astype(np.float32)
    if not (alpha > 0.5).any():
        raise Bundle3DError(
            "Expected an object before a plain background, but the image has one colour; choose another one."
        )
    share = alpha[..., None]
    own = np.clip((pixels - (1.0 - share) * background) / np.maximum(share, 1e-3), 0.0, 1.0)
    own = np.where(share > 0, own, pixels)
    color = "#" + "".join(f"{round(float(value) * 255):02x}" for value in background)
    notes = (f"Cut out by the background's colour, {color}.",)
    return Matte(torch.from_numpy(own).to(rgb), torch.from_numpy(alpha).to(rgb), notes)


def matte_of_drawing(rgb: torch.Tensor) -> Matte:
    """As `matte_by_color`, of a drawn image: its rims are a pixel wide and the colours inside tell their coverage.

    So they keep none of a background that is far from the object's colours, such as white on dark ones.
    """
    found = matte_by_color(rgb)
    background = border_colors(rgb[None], _border_width(rgb))[0]
    return Matte(*unmix_rim(rgb, (found.alpha > 0.5).to(rgb), background), found.notes)


def _says_something(mask: torch.Tensor) -> bool:
    return bool((mask < OPAQUE).any())


def _fitted(mask: torch.Tensor, rgb: torch.Tensor) -> torch.Tensor:
    """The mask in the size of the image."""
    height, width = rgb.shape[:2]
    if mask.shape == (height, width):
        return mask.to(rgb)
    constant = bool((mask == mask.flatten()[0]).all())
    if not constant and abs(mask.shape[1] / mask.shape[0] * height / width - 1.0) > ASPECT:
        raise Bundle3DError(
            f"Expected a mask of {width} x {height} pixels, but got {mask.shape[1]} x {mask.shape[0]}; make it from "
            "the same image."
        )
    resized = torch.nn.functional.interpolate(
        mask.to(rgb)[None, None], size=(height, width), mode="bilinear", antialias=True
    )
    return resized[0, 0]


def _object_share(alpha: torch.Tensor, what: str, advice: str) -> torch.Tensor:
    alpha = alpha.clamp(0.0, 1.0)
    if not bool((alpha > 0.5).any()):
        raise Bundle3DError(f"Expected the {what} to be 1 on the object, but it is empty; {advice}.")
    return alpha


def _background(rgb: torch.Tensor) -> tuple[np.ndarray, float]:
    """Colour (3,) of the border of an image (H, W, 3), and the difference from it that is noise."""
    border = border_pixels(rgb[None], _border_width(rgb))[0].numpy()
    color = np.median(border, axis=0)
    difference = np.abs(border - color).max(axis=-1)
    share = float((difference <= HIGHEST).mean())
    if share < PLAIN_SHARE:
        raise Bundle3DError(
            f"Expected a mask, an alpha channel or a background of one colour, but only {share:.0%} of the image's "
            f"border has one; {ADVICE}."
        )
    return color, float(np.clip(2.0 * np.quantile(difference[difference <= HIGHEST], 0.95), LOWEST, HIGHEST))


def _border_width(rgb: torch.Tensor) -> int:
    return max(1, round(BORDER * min(rgb.shape[:2])))


def _outside(similar: np.ndarray, equal: np.ndarray, holes: bool) -> np.ndarray:
    """Which pixels are background: those ``similar`` to it that reach the border, and holes ``equal`` to it."""
    pieces, _ = ndimage.label(similar)
    at_border = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    areas = np.bincount(pieces.ravel(), weights=equal.ravel())
    chosen = np.zeros(len(areas), dtype=bool)
    chosen[at_border] = True
    if holes:
        chosen |= areas >= max(LEAST_HOLE, HOLE_SHARE * similar.size)
    chosen[0] = False
    return chosen[pieces]
