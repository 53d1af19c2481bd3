"""Masks painted on a whole bundle image, or on its tiles, as one mask for each view."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..views.bundle import ROWS, BundleLayout
from ..views.view_set import ViewSet


def shows_tiles(painted: torch.Tensor, views: ViewSet) -> bool:
    """Whether masks (K, H, W) have the shape of single views, and not that of a bundle."""
    height, width = views.size
    return painted.shape[1] * width == painted.shape[2] * height


def painted_views(painted: torch.Tensor, views: ViewSet) -> torch.Tensor:
    """The masks (V, h, w) of ``painted``: (V, H, W) tiles of the views' shape, or (1, H, W) of their whole bundle.

    A view is painted where its RGB tile or any tile below is. Raises Bundle3DError for other counts and shapes.
    """
    count = len(views.rig)
    masks, rows, columns = painted.shape
    if masks == count and shows_tiles(painted, views):
        return painted
    fits = [number for number in ROWS if rows * count == columns * number and columns % count == 0]
    if masks == 1 and views.size[0] == views.size[1] and fits:
        tiles = BundleLayout(fits[0], count, columns // count).split(painted[0, ..., None])
        return tiles.amax(0)[..., 0]
    raise Bundle3DError(
        f"Expected one mask painted on the bundle of the {count} views, or one for each of them, but got {masks} of "
        f"{columns} x {rows} pixels; paint on the bundle that shows these views."
    )
