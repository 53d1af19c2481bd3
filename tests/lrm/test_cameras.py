"""The camera vector and the model's frame."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.lrm.cameras import camera_vectors, to_model, to_world
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.tests.lrm.test_model import difference


def test_the_vectors_are_the_golden_ones() -> None:
    assert difference(camera_vectors(named_rig("lrm")), "cameras") < 1e-6


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 5.0), (37.0, -20.0), (210.0, 61.0)])
def test_the_vector_says_where_the_camera_is_and_looks(azimuth: float, elevation: float) -> None:
    rig = Rig((Camera(azimuth, elevation, 2.5, fov=50.0),))
    vector = camera_vectors(rig)[0]
    pose, focal = vector[:12].reshape(3, 4), vector[12:]
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = 2.5 * torch.tensor((math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)))
    torch.testing.assert_close(pose[:, 3], eye)
    torch.testing.assert_close(pose[:, 2], eye / 2.5)
    torch.testing.assert_close(torch.linalg.det(pose[:, :3]), torch.tensor(1.0))
    assert float(pose[2, 0]) == pytest.approx(0.0, abs=1e-7)
    torch.testing.assert_close(focal, torch.tensor((0.5 / math.tan(math.radians(25)),) * 2 + (0.5, 0.5)))


def test_the_front_of_our_world_is_that_of_the_model() -> None:
    front, left, up = torch.eye(3)[[2, 0, 1]]
    assert to_model(front).tolist() == [1, 0, 0]
    assert to_model(left).tolist() == [0, 1, 0]
    assert to_model(up).tolist() == [0, 0, 1]
    points = torch.rand(5, 3)
    assert torch.equal(to_world(to_model(points)), points)


def test_orthographic_cameras_are_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"camera 1 of the rig 'cube6' is orthographic; choose"):
        camera_vectors(named_rig("cube6"))
