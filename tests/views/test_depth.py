"""Grey depths against the known distance of a box's walls."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.depth import FARTHEST_GREY, depth_picture, depth_tiles
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.meshes.shapes import box, soup

RIG, TILE = named_rig("kiss3dgen"), 64


def test_depths_are_greys_of_the_distance_from_the_camera() -> None:
    depths = depth_tiles(render_views(soup(box()), RIG, TILE, coordinates=True))
    nearness = 0.5 / math.cos(math.radians(5.0)) / math.sqrt(3.0)  # of the wall in the middle; the box's corners: 1
    grey = FARTHEST_GREY + (1.0 - FARTHEST_GREY) * (nearness + 1.0) / 2.0
    for depth in depths:
        assert float(depth[TILE // 2, TILE // 2]) == pytest.approx(grey, abs=0.003)
        assert float(depth[0, 0]) == 0.0


def test_the_picture_is_a_row_of_tiles() -> None:
    views = render_views(soup(box()), RIG, TILE, coordinates=True)
    picture = depth_picture(views)
    assert picture.shape == (TILE, 4 * TILE, 3)
    assert torch.equal(picture[:, TILE : 2 * TILE, 0], depth_tiles(views)[1])
