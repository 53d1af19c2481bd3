"""A set of views refuses images that do not belong together."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet


def test_views_of_one_size_are_accepted_and_moved() -> None:
    images = torch.zeros(4, 6, 8, 3)
    views = ViewSet(images, images, torch.zeros(4, 6, 8), named_rig("kiss3dgen"), images)
    assert views.size == (6, 8)
    moved = views.to("cpu")
    assert moved.coord is not None
    assert moved.rig is views.rig


@pytest.mark.parametrize("name", ["rgb", "normal", "coord"])
def test_an_image_of_another_size_is_refused_by_name(name: str) -> None:
    images = {key: torch.zeros(4, 6, 6, 3) for key in ("rgb", "normal", "coord")}
    images[name] = torch.zeros(4, 6, 7, 3)
    with pytest.raises(Bundle3DError, match=name):
        ViewSet(mask=torch.zeros(4, 6, 6), rig=named_rig("kiss3dgen"), **images)


def test_a_view_without_a_camera_is_refused() -> None:
    images = torch.zeros(5, 6, 6, 3)
    with pytest.raises(Bundle3DError, match="one view per camera"):
        ViewSet(images, images, torch.zeros(5, 6, 6), named_rig("kiss3dgen"))


def test_views_whose_normals_are_unknown_are_refused_where_they_are_needed() -> None:
    mask, normal = torch.zeros(4, 6, 6), torch.zeros(4, 6, 6, 3)
    mask[:, 2:4, 2:4], normal[:, 2:4, 2:4, 2] = 1.0, 1.0
    views = ViewSet(torch.ones(4, 6, 6, 3), normal, mask, named_rig("kiss3dgen"))
    views.require_normals()
    mask[0], normal[0] = 0.0, 0.0
    views.require_normals()  # a view that shows nothing needs none
    normal[2] = 0.0
    with pytest.raises(Bundle3DError, match="view 3 has none"):
        views.require_normals()
