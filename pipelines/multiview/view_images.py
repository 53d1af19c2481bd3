"""Views that any other model drew, as a ViewSet: which pixels show the object, and the object on white."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from ..errors import Bundle3DError
from ..views.finite import require_finite
from ..views.masks import border_colors, soften_mask, white_behind
from ..views.rig import Rig
from ..views.view_set import ViewSet

Array = np.ndarray
TOLERANCE = 0.06  # how far, in [0, 1], a channel of a background pixel may be from the background's colour
SPECK = 0.0005  # of a view's pixels: what is smaller beside the object is noise


def views_from_images(images: torch.Tensor, rig: Rig, masks: torch.Tensor | None = None) -> ViewSet:
    """The ``ViewSet`` of colour views (V, H, W, 3) in [0, 1] of one object, in the rig's order.

    ``masks`` (V, H, W) say how much of each pixel is the object; without them the object is what is not of the colour
    of the view's border. Colours come out on white, whatever they were on. A view that shows nothing has an empty mask;
    ``empty_views`` names it. Normals are unknown and stay zero. Raises Bundle3DError where numbers or sizes do not fit.
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
    require_finite(images)
    colors = images.float().cpu().clamp(0.0, 1.0)
    background = border_colors(colors)[:, None, None]
    if masks is None:
        on_white = colors + (1.0 - background)
        coverage = soften_mask(object_mask(colors, background), on_white)
    else:
        coverage = masks.float().cpu().clamp(0.0, 1.0)
    rgb = white_behind(colors, coverage, background)
    return ViewSet(rgb, torch.zeros_like(rgb), coverage, rig)


def empty_views(views: ViewSet) -> str:
    """The numbers, from 1, of the views that show nothing, as in "view 2 shows" or "views 2 and 3 show"; or nothing."""
    numbers = [str(number) for number, mask in enumerate(views.mask, 1) if not bool((mask > 0.5).any())]
    if len(numbers) < 2:
        return "".join(f"view {number} shows" for number in numbers)
    return f"views {', '.join(numbers[:-1])} and {numbers[-1]} show"


def object_mask(images: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """1 where images (V, H, W, 3) show something else than ``background`` (V, 1, 1, 3).

    Specks are left out, and holes of their size are filled; larger holes show what is behind the object.
    """
    differs = differs_from(images, background).numpy()
    masks = [torch.from_numpy(~_large_parts(~_large_parts(view))) for view in differs]
    return torch.stack(masks).float()


def differs_from(images: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Where (V, H, W) images (V, H, W, 3) are clearly not of the colour ``background`` (V, 1, 1, 3)."""
    return (images - background).abs().amax(dim=-1) > TOLERANCE


def _large_parts(mask: Array) -> Array:
    """The connected parts of a mask (H, W) that are no specks."""
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(count + 1))
    large = sizes >= max(2.0, SPECK * mask.size)
    large[0] = False
    result: Array = large[labels]
    return result
