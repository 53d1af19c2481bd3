"""Depths as the grey pictures that depth ControlNets see. Source: specs/kiss3dgen.md 3.6; the scale is this pack's."""

from __future__ import annotations

import torch

from .view_set import ViewSet

FARTHEST_GREY = 0.15  # white is nearest; darker than this would look like a hole


def depth_tiles(views: ViewSet) -> torch.Tensor:
    """Grey (V, H, W) of how far ``views`` with coordinates are from their cameras: white near, darker far, black none.

    The scale is that of [-1, 1] seen from the rig, the same for every object.
    """
    if views.coord is None:
        raise ValueError("depths need views with coordinates")
    grey = []
    for camera, points in zip(views.rig, views.coord):
        toward = camera.rotation()[2].to(points)
        nearness = (points * toward).sum(-1) / 3.0**0.5  # the corners of the box are at 1 and -1
        grey.append(FARTHEST_GREY + (1.0 - FARTHEST_GREY) * (nearness + 1.0) / 2.0)
    return torch.stack(grey).clamp(0.0, 1.0) * views.mask


def depth_picture(views: ViewSet) -> torch.Tensor:
    """The depths of ``views`` with coordinates as one row of tiles (H, V W, 3)."""
    tiles = depth_tiles(views)
    return tiles.transpose(0, 1).reshape(tiles.shape[1], -1, 1).expand(-1, -1, 3)
