from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.pixal3d.alignment import input_alignment, input_camera
from bundle3d.pipelines.pixal3d.finish.asset import finish_asset
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.views.rig import Rig
from bundle3d.pipelines.volumes.projection import front_camera
from bundle3d.tests.pixal3d.finish.decoded_objects import decoded, material_at, solid


def photo_of(kind: str, fov: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The true solid with its true colours before the camera of a single view."""
    mesh = solid(kind, 97)
    colored = Mesh(mesh.vertices, mesh.faces, colors=srgb_to_linear(material_at(mesh.vertices)[:, :3]))
    camera = input_camera(fov, size=1.0)
    picture, coverage = render_mesh(colored, Rig((camera,)), 256, 256, "unlit", background=(0.0, 0.0, 0.0))
    return picture[0], coverage[0]


@pytest.mark.parametrize("fov", [0.2, 0.8575560450553894])
@pytest.mark.parametrize(("size", "front"), [(2.0, "+Z"), (1.0, "-Z"), (1.0, "+X")])
def test_a_finished_asset_lies_on_its_photo(fov: float, size: float, front: str) -> None:
    photo, mask = photo_of("figure", fov)
    asset = finish_asset(*decoded("figure"), FinishOptions(faces=8000, texture=512, size=size, front=front))
    found = input_alignment(asset, photo, mask, input_camera(fov, size=size, front=front))
    assert found.silhouette_iou > 0.98
    assert found.psnr > 30.0
    assert found.picture.shape == (256, 256, 3) and found.coverage.shape == (256, 256)


def test_a_wrong_side_and_a_wrong_lens_are_told() -> None:
    photo, mask = photo_of("figure", 0.8575560450553894)
    asset = finish_asset(*decoded("figure", 32), FinishOptions(faces=4000, texture=256))
    right = input_alignment(asset, photo, mask, input_camera())
    behind = input_alignment(asset, photo, mask, input_camera(front="-Z"))
    narrow = input_alignment(asset, photo, mask, input_camera(0.2))
    assert right.silhouette_iou > 0.97 > narrow.silhouette_iou > behind.silhouette_iou
    assert right.psnr > max(narrow.psnr, behind.psnr) + 3.0


@pytest.mark.parametrize("fov", [0.2, 0.8575560450553894, 1.2])
@pytest.mark.parametrize("mesh_scale", [1.0, 0.9])
def test_the_camera_puts_points_where_the_conditioning_looks_for_them(fov: float, mesh_scale: float) -> None:
    points = torch.rand((50, 3), generator=torch.Generator().manual_seed(0)).double() - 0.5
    camera = input_camera(fov, size=2.0, mesh_scale=mesh_scale)
    pixels, _ = camera.project(points * 2.0, 64, 64)
    distance = 0.5 / mesh_scale / math.tan(fov / 2)
    assert torch.allclose(pixels / 64, front_camera(fov, distance).project(points / mesh_scale), atol=1e-6)


def test_photos_that_are_not_square_empty_masks_and_other_axes_are_refused() -> None:
    asset = finish_asset(*decoded("ball", 24), FinishOptions(faces=500, texture=64))
    with pytest.raises(Bundle3DError, match="square"):
        input_alignment(asset, torch.zeros(8, 9, 3), torch.ones(8, 9), input_camera())
    with pytest.raises(Bundle3DError, match="empty"):
        input_alignment(asset, torch.zeros(16, 16, 3), torch.zeros(16, 16), input_camera())
    with pytest.raises(Bundle3DError, match="front"):
        input_camera(front="up")
