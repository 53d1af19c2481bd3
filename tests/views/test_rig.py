"""Rigs: the order and placement of the cameras that published systems use."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import NAMED_RIGS, Rig, named_rig, orbit


def test_kiss3dgen_rig_is_that_of_the_training_data() -> None:
    rig = named_rig("kiss3dgen")
    assert [camera.azimuth for camera in rig] == [0, 90, 180, 270]
    assert {(camera.elevation, camera.distance, camera.fov) for camera in rig} == {(5.0, 4.5, 30.0)}


@pytest.mark.parametrize("name", NAMED_RIGS)
def test_named_rigs_look_at_the_origin(name: str) -> None:
    rig = named_rig(name)
    assert rig.name == name
    middle = torch.zeros(1, 3)
    for clip in rig.clip(middle)[:, 0]:
        assert (clip[:2] / clip[3]).tolist() == pytest.approx((0.0, 0.0), abs=1e-6)


def test_orthographic_views_go_to_the_objects_left_first() -> None:
    """The second picture of each shows the side that is to the right in the first one."""
    six, four = named_rig("wonder3d"), named_rig("unique3d")
    assert [camera.azimuth for camera in six] == [0, 45, 90, 180, 270, 315]
    assert [camera.azimuth for camera in four] == [0, 90, 180, 270]
    for rig in (six, four):
        assert not any(camera.is_perspective for camera in rig) and {camera.elevation for camera in rig} == {0.0}
        front, second = rig[0], rig[1]
        assert float(front.rotation()[0] @ second.eye()) > 0.0
        assert float(rig.clip(torch.tensor([[0.0, 0.99, 0.0]]))[..., 1].abs().max()) < 1.0


def test_an_orbit_starts_where_it_is_told_and_goes_either_way() -> None:
    assert [camera.azimuth for camera in orbit(4, first=30.0)] == [30, 120, 210, 300]
    assert [camera.azimuth for camera in orbit(4, first=-45.0, clockwise=True)] == [315, 225, 135, 45]


def test_cube_corner_stays_inside_every_kiss3dgen_view() -> None:
    corners = torch.cartesian_prod(*(torch.tensor((-0.8, 0.8)),) * 3)
    clip = named_rig("kiss3dgen").clip(corners)
    assert float((clip[..., :2] / clip[..., 3:]).abs().max()) < 1.0


def test_clip_is_that_of_each_camera_and_passes_gradients() -> None:
    rig = orbit(3, elevation=20.0)
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    clip = rig.clip(points, aspect=2.0)
    for view, camera in enumerate(rig):
        matrix = camera.world_to_clip(2.0).float()
        assert torch.allclose(clip[view], points @ matrix[:, :3].T + matrix[:, 3], atol=1e-5)
    clip.sum().backward()
    assert points.grad is not None
    assert bool((points.grad != 0).any())


def test_moving_a_rig_keeps_its_directions() -> None:
    rig = named_rig("zero123plus")
    moved = rig.at_distance(5.0)
    assert torch.allclose(moved.rotations(), rig.rotations())
    assert torch.allclose(moved.eyes().norm(dim=-1), torch.full((6,), 5.0))


def test_scaling_a_rig_keeps_the_ratio_of_its_distances() -> None:
    rig = Rig((Camera(0.0, distance=4.0, fov=30.0), Camera(90.0, distance=3.0, fov=30.0)))
    assert [camera.distance for camera in rig.scaled(0.5)] == [2.0, 1.5]
    assert torch.equal(rig.scaled(0.5).rotations(), rig.rotations())


def test_empty_and_unknown_rigs_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="at least one camera"):
        Rig(())
    with pytest.raises(Bundle3DError, match="kiss3dgen"):
        named_rig("kiss")
