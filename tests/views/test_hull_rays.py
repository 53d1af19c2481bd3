"""Rays through silhouettes of bodies whose hull is known."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.hull_rays import sample_view, trace_hull
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet

from .shapes import sphere_views


def with_mask(views: ViewSet, mask: torch.Tensor) -> ViewSet:
    return ViewSet(views.rgb, views.normal, mask, views.rig)


@pytest.mark.parametrize("name", ["kiss3dgen", "cube6", "zero123plus"])
def test_silhouettes_of_one_body_are_explained(name: str) -> None:
    rays = trace_hull(sphere_views(named_rig(name), 64, 0.6, samples=2), 64)
    assert float(rays.iou.min()) > 0.995
    assert float(rays.pairs.min()) > 0.995


def test_two_orthographic_squares_explain_only_their_common_height() -> None:
    rig = Rig((Camera(0, half_height=1.0), Camera(90, half_height=1.0)))
    mask = torch.zeros(2, 64, 64)
    mask[0, 16:48, 16:48] = 1.0
    mask[1, 32:48, 16:48] = 1.0
    images = torch.zeros(2, 64, 64, 3)
    rays = trace_hull(ViewSet(images, images, mask, rig), 64)
    assert float(rays.iou[0]) == pytest.approx(0.5, abs=0.02)
    assert float(rays.iou[1]) == 1.0
    assert rays.pairs[0].tolist() == pytest.approx((1.0, 0.5), abs=0.02)


def test_a_shifted_view_is_not_explained() -> None:
    views = sphere_views(named_rig("kiss3dgen"), 64, 0.6, samples=2)
    mask = views.mask.clone()
    mask[1] = mask[1].roll(12, 1)
    iou = trace_hull(with_mask(views, mask), 64).iou
    assert float(iou[3]) < 0.9, "the opposite view contradicts the shifted one"


def test_an_empty_view_explains_nothing() -> None:
    views = sphere_views(named_rig("kiss3dgen"), 32, 0.6, samples=2)
    mask = views.mask.clone()
    mask[2] = 0.0
    assert trace_hull(with_mask(views, mask), 32).iou.tolist() == [0.0] * 4


def test_sampling_a_view_reads_the_pixel_of_the_point() -> None:
    camera = Camera(30, 10, 4.0, fov=30.0)
    image = torch.arange(48.0).reshape(1, 6, 8)
    origins, directions = camera.rays(6, 8)
    points = (origins + 3.0 * directions).float()
    assert torch.allclose(sample_view(image, camera, points)[..., 0], image[0], atol=1e-3)
