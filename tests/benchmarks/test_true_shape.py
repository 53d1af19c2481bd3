"""The true object is judged right, wherever and however large it lies; another one is not."""

from __future__ import annotations

import pytest
import torch
from bundle3d.benchmarks.held_out import held_out_objects, photo_of
from bundle3d.benchmarks.true_shape import (
    in_picture,
    in_place,
    in_space,
    normals_in_picture,
    pictured,
    untouched_iou,
)
from bundle3d.pipelines.metrics.alignment import turn
from bundle3d.pipelines.photo.frame import Framed, frame_object
from bundle3d.pipelines.training.shapes import Part, Subject, build

SIZE = 128


@pytest.fixture(scope="module")
def photo() -> Framed:
    rgba = photo_of(held_out_objects(2)[1], SIZE)
    return frame_object(rgba[..., :3], rgba[..., 3], SIZE)


def test_the_true_object_fits_its_photo_at_any_size(photo: Framed) -> None:
    shown = held_out_objects(2)[1]
    true = pictured(shown.mesh, photo, shown.camera, "matte")
    small = shown.mesh.with_(vertices=shown.mesh.vertices * 0.7 + torch.tensor((0.1, -0.05, 0.0)))
    seen = pictured(small, photo, shown.camera, "matte")
    for figures in (in_picture(true, photo), in_picture(seen, photo)):
        assert figures["iou"] > 0.97 and figures["psnr"] > 28.0 and figures["ssim"] > 0.9
    assert normals_in_picture(seen, true) < 3.0


def test_another_object_does_not_fit(photo: Framed) -> None:
    shown = held_out_objects(2)[1]
    other = build(Subject((Part("torus", "green", "thin"),)))
    seen = pictured(other, photo, shown.camera, "matte")
    figures = in_picture(seen, photo)
    assert figures["iou"] < 0.8 and figures["psnr"] < 15.0
    assert in_space(other, shown.mesh)["f_score"] < 0.9


def test_space_forgives_turning_and_place_does_not() -> None:
    mesh = build(Subject((Part("cube", "red", "wide"),)))
    turned = mesh.with_(vertices=0.3 * mesh.vertices @ turn(1.3).T, normals=None)
    assert in_space(turned, mesh)["f_score"] > 0.99 and in_space(turned, mesh)["cd"] < 0.05
    assert in_place(turned, mesh)["f_score_unaligned"] < 0.8
    assert in_place(mesh, mesh)["f_score_unaligned"] > 0.99


def test_the_photos_own_camera_fits_nothing() -> None:
    shown = held_out_objects(2)[1]
    alpha = photo_of(shown, SIZE)[..., 3]
    assert untouched_iou(shown.mesh, shown.camera, alpha) > 0.99
    larger = shown.mesh.with_(vertices=shown.mesh.vertices * 1.1)
    assert untouched_iou(larger, shown.camera, alpha) == pytest.approx(1 / 1.1**2, abs=0.03)
