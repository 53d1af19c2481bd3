"""Cameras against the numbers of specs/kiss3dgen.md 6.2 and against each other."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views.camera import Camera
from hypothesis import given, settings
from hypothesis import strategies as st

POINT = torch.tensor((0.3, 0.2, -0.1), dtype=torch.float64)
PIXELS = {0: (318.551, 212.641), 90: (278.836, 216.472), 180: (190.605, 214.469), 270: (236.018, 210.964)}

cameras = st.builds(
    Camera,
    azimuth=st.floats(-720, 720),
    elevation=st.floats(-90, 90),
    distance=st.floats(2.0, 10.0),
    fov=st.floats(10.0, 90.0),
)


@pytest.mark.parametrize("azimuth", PIXELS)
def test_pixel_of_a_point_matches_the_specification(azimuth: int) -> None:
    pixel, _ = Camera(azimuth, 5.0, 4.5, fov=30.0).project(POINT, 512, 512)
    assert pixel.tolist() == pytest.approx(PIXELS[azimuth], abs=1e-3)


def test_pixel_at_another_distance_matches_the_specification() -> None:
    pixel, _ = Camera(0, 5.0, 4.15, fov=30.0).project(POINT, 512, 512)
    assert pixel.tolist() == pytest.approx((323.724, 209.055), abs=1e-3)


def test_eye_stands_where_azimuth_and_elevation_say() -> None:
    e, a = math.radians(5.0), math.radians(90.0)
    expected = [4.5 * math.cos(e) * math.sin(a), 4.5 * math.sin(e), 4.5 * math.cos(e) * math.cos(a)]
    assert Camera(90, 5.0, 4.5, fov=30.0).eye().tolist() == pytest.approx(expected, abs=1e-12)


@given(cameras)
@settings(max_examples=50, deadline=None)
def test_rotation_is_a_rotation_and_clip_agrees_with_project(camera: Camera) -> None:
    rotation = camera.rotation()
    assert torch.allclose(rotation @ rotation.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0)
    pixel, depth = camera.project(POINT, 300, 400)
    clip = camera.world_to_clip(400 / 300) @ torch.cat((POINT, POINT.new_ones(1)))
    ndc = clip[:3] / clip[3]
    assert float(clip[3]) == pytest.approx(float(depth), rel=1e-9)
    assert pixel.tolist() == pytest.approx([(float(ndc[0]) + 1) * 200, (1 - float(ndc[1])) * 150], abs=1e-6)


@pytest.mark.parametrize("camera", [Camera(40, 20, 3.0, fov=50.0), Camera(200, -30, 3.0, half_height=1.2)])
def test_rays_pass_through_the_pixels_they_belong_to(camera: Camera) -> None:
    origins, directions = camera.rays(6, 8)
    pixels, depth = camera.project(origins + 2.5 * directions, 6, 8)
    columns, rows = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(6) + 0.5, indexing="xy")
    assert torch.allclose(pixels, torch.stack((columns, rows), -1).double(), atol=1e-9)
    assert bool((depth > 0).all())
    assert torch.allclose(directions.norm(dim=-1), torch.ones(6, 8, dtype=torch.float64))


def test_orthographic_scale_is_the_half_height() -> None:
    camera = Camera(0, 0, 4.5, half_height=1.1)
    pixel, _ = camera.project(torch.tensor((1.1, 1.1, 0.7)), 200, 200)
    assert pixel.tolist() == pytest.approx((200.0, 0.0), abs=1e-4)


def test_depth_range_maps_to_minus_one_and_one() -> None:
    for camera in (Camera(0, fov=30.0), Camera(0, half_height=1.0)):
        for depth, expected in ((camera.near, -1.0), (camera.far, 1.0)):
            clip = camera.projection() @ torch.tensor((0.0, 0.0, -depth, 1.0), dtype=torch.float64)
            assert float(clip[2] / clip[3]) == pytest.approx(expected, abs=1e-9)


def test_target_is_seen_in_the_middle() -> None:
    camera = Camera(33, 12, 4.0, fov=30.0, target=(5.0, -2.0, 1.0))
    pixel, depth = camera.project(torch.tensor((5.0, -2.0, 1.0)), 100, 100)
    assert pixel.tolist() == pytest.approx((50.0, 50.0), abs=1e-4)
    assert float(depth) == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"fov": 30.0, "half_height": 1.0},
        {"fov": 0.0},
        {"fov": 180.0},
        {"half_height": -1.0},
        {"fov": 30.0, "distance": 0.0},
    ],
)
def test_impossible_cameras_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(Bundle3DError):
        Camera(0.0, **arguments)
