"""Views that any other model drew, as a ViewSet: which pixels show the object, and the object on white."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from ..errors import Bundle3DError
from ..views.masks import soften_mask
from ..views.rig import Rig
from ..views.view_set import ViewSet

Array = np.ndarray
TOLERANCE = 0.06  # how far, in [0, 1], a channel of a background pixel may be from the background's colour
SPECK = 0.0005  # of a view's pixels: what is smaller beside the object is noise


def views_from_images(images: torch.Tensor, rig: Rig, masks: torch.Tensor | None = None) -> ViewSet:
    """The ``ViewSet`` of colour views (V, H, W, 3) in [0, 1] of one object, in the rig's order.

    ``masks`` (V, H, W) say how much of each pixel is the object; without them the object is what is not of the colour
    of the view's border. Colours come out on white, whatever they were on. Normals are
    unknown and stay zero. Raises Bundle3DError where numbers or sizes do not fit, or a view shows nothing.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or len(images) != len(rig) or images.shape[1] != images.shape[2]:
        raise Bundle3DError(
            f"Expected {len(rig)} square RGB views for the rig {rig.name}, but got pictures of "
            f"{tuple(images.shape)}; choose the rig of the views, or crop them."
        )
    if masks is not None and masks.shape != images.shape[:3]:
        raise Bundle3DError(
            f"Expected masks of {tuple(images.shape[:3])}, as the views are, but got {tuple(masks.shape)}; give one "
            "for each view."
        )
    if not bool(torch.isfinite(images).all()):
        raise Bundle3DError("Expected finite colours, but some are NaN or infinite; check where the views are made.")
    colors = images.float().cpu().clamp(0.0, 1.0)
    background = border_colors(colors)[:, None, None]
    if masks is None:
        on_white = colors + (1.0 - background)
        coverage = soften_mask(object_mask(colors, background), on_white)
    else:
        coverage = masks.float().cpu().clamp(0.0, 1.0)
    # A rim pixel is coverage * object + (1 - coverage) * background; white takes the background's place.
    rgb = (colors + (1.0 - coverage[..., None]) * (1.0 - background)).clamp(0.0, 1.0)
    rgb = torch.where(coverage[..., None] > 0.0, rgb, 1.0)
    for view, covered in enumerate(coverage):
        if not bool((covered > 0.5).any()):
            raise Bundle3DError(
                f"Expected an object in every view, but view {view + 1} shows nothing but its background; give masks, "
                "or draw the views with another seed."
            )
    return ViewSet(rgb, torch.zeros_like(rgb), coverage, rig)


def border_colors(images: torch.Tensor) -> torch.Tensor:
    """The median colours (V, 3) of the outermost pixels of images (V, H, W, 3)."""
    rows, columns = images[:, [0, -1]].flatten(1, 2), images[:, :, [0, -1]].flatten(1, 2)
    return torch.cat([rows, columns], dim=1).median(dim=1).values


def object_mask(images: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """1 where images (V, H, W, 3) show something else than ``background`` (V, 1, 1, 3).

    Specks are left out, and holes of their size are filled; larger holes show what is behind the object.
    """
    differs = ((images - background).abs().amax(dim=-1) > TOLERANCE).numpy()
    masks = [torch.from_numpy(~_large_parts(~_large_parts(view))) for view in differs]
    return torch.stack(masks).float()


def _large_parts(mask: Array) -> Array:
    """The connected parts of a mask (H, W) that are no specks."""
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(count + 1))
    large = sizes >= max(2.0, SPECK * mask.size)
    large[0] = False
    result: Array = large[labels]
    return result
