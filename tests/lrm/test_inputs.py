"""Views as the model's input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.cameras import camera_vectors
from bundle3d.pipelines.lrm.inputs import image_input, model_input, told_distance
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.lrm.make_small import SMALL

RIG = named_rig("kiss3dgen")


def views(rgb: torch.Tensor, mask: torch.Tensor) -> ViewSet:
    return ViewSet(rgb, torch.zeros_like(rgb), mask, RIG)


def test_cameras_are_told_at_the_distance_that_the_model_knows() -> None:
    _, cameras = image_input(torch.rand(4, 64, 64, 3), RIG, SMALL)
    torch.testing.assert_close(cameras[0], camera_vectors(named_rig("lrm")))


def test_the_six_views_of_zero123plus_are_told_where_they_differ() -> None:
    rig = named_rig("zero123plus").at_distance(5.0)
    for config, distance in ((SMALL, 3.5), (replace(SMALL, zero123plus_distance=3.2), 3.2)):
        _, cameras = image_input(torch.rand(6, 64, 64, 3), rig, config)
        torch.testing.assert_close(cameras[0, :, [3, 7, 11]].norm(dim=1), torch.full((6,), distance))
        assert told_distance(config, rig) == distance and told_distance(config, RIG) == 3.5


def test_images_of_the_right_size_stay_as_they_are() -> None:
    images = torch.rand(4, 96, 96, 3)
    found, _ = image_input(images, RIG, SMALL)
    assert found.shape == (1, 4, 3, 96, 96)
    torch.testing.assert_close(found[0], images.permute(0, 3, 1, 2), atol=1e-6, rtol=0)


def test_resized_images_stay_in_range_and_in_place() -> None:
    images = torch.ones(4, 384, 384, 3)
    images[0, :96, :192] = 0.0
    found, _ = image_input(images, RIG, SMALL)
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    assert float(found[0, 0, :, 10, 20].max()) < 0.01 and float(found[0, 0, :, 40, 20].min()) > 0.99


def test_what_the_mask_leaves_out_is_white_and_the_rim_stays() -> None:
    rgb, mask = torch.full((4, 96, 96, 3), 0.25), torch.zeros(4, 96, 96)
    mask[:, 20:80, 20:80], mask[:, 50, 50] = 1.0, 0.5
    found, _ = model_input(views(rgb, mask), SMALL)
    torch.testing.assert_close(found[0, :, :, 0, 0], torch.ones(4, 3))
    torch.testing.assert_close(found[0, :, :, 50, 50], torch.full((4, 3), 0.25))


def test_a_view_that_shows_nothing_is_white() -> None:
    mask = torch.ones(4, 96, 96)
    mask[2] = 0.0
    found, _ = model_input(views(torch.full((4, 96, 96, 3), 0.25), mask), SMALL)
    assert [float(view.mean()) for view in found[0]] == [0.25, 0.25, 1.0, 0.25]


def test_other_views_are_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"square .*; pad them"):
        image_input(torch.rand(4, 64, 96, 3), RIG, SMALL)
    with pytest.raises(Bundle3DError, match=r"4 cameras of the rig 'kiss3dgen', but got 6; choose"):
        image_input(torch.rand(6, 64, 64, 3), RIG, SMALL)
    with pytest.raises(Bundle3DError, match="masks of all of them are empty"):
        model_input(views(torch.rand(4, 64, 64, 3), torch.zeros(4, 64, 64)), SMALL)
