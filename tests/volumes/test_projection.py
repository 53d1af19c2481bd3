from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig, named_rig, orbit
from bundle3d.pipelines.volumes.projection import (
    DEFAULT_FOV,
    GridCamera,
    camera_distance,
    front_camera,
    front_matrix,
    grid_points,
    project,
    relative_cameras,
    rig_cameras,
    sampling_coordinates,
    voxel_points,
)
from hypothesis import given, settings
from hypothesis import strategies as st

fields_of_view = st.floats(math.radians(10), math.radians(70))


def points(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5


@pytest.mark.parametrize(
    ("fov", "distance"), [(0.2, 4.98332), (math.radians(20), 2.83564), (DEFAULT_FOV, 1.09375), (1.2, 0.73085)]
)
def test_published_distances(fov: float, distance: float) -> None:
    assert camera_distance(fov) == pytest.approx(distance, abs=5e-6)


def test_distance_with_a_scale_and_a_border() -> None:
    """A mesh of half the size with a border of 10 pixels: by the thin triangles of its middle plane."""
    found = camera_distance(0.6, mesh_scale=2.0, extend=10.0, size=512)
    assert 0.25 / (found * math.tan(0.3)) == pytest.approx((256 + 10) / 256)


@pytest.mark.parametrize(
    ("voxel", "expected"),
    [
        ((0, 0, 0), (-0.684321, 0.688228)),
        ((15, 0, 15), (1.844058, 1.844058)),
        ((7, 8, 3), (-0.050364, -0.050364)),
        ((15, 15, 15), (1.844058, -1.840152)),
    ],
)
def test_published_coordinates(voxel: tuple[int, int, int], expected: tuple[float, float]) -> None:
    point = voxel_points(torch.tensor([voxel]), 16, dtype=torch.float64)
    for places in (project(point, DEFAULT_FOV, camera_distance(DEFAULT_FOV)), front_camera().project(point)):
        assert sampling_coordinates(places, 512)[0].tolist() == pytest.approx(expected, abs=5e-7)


@settings(deadline=None, max_examples=30)
@given(fov=fields_of_view, distance=st.floats(0.8, 6.0), seed=st.integers(0, 99))
def test_the_closed_form_is_the_chain_of_matrices(fov: float, distance: float, seed: int) -> None:
    chain = front_camera(fov, distance).project(points(50, seed))
    assert float((project(points(50, seed), fov, distance) - chain).abs().max()) < 1e-7


@settings(deadline=None, max_examples=20)
@given(fov=fields_of_view)
def test_the_middle_plane_fills_the_image(fov: float) -> None:
    corners = torch.tensor([[-0.5, 0.5, 0.0], [0.5, -0.5, 0.0]], dtype=torch.float64)
    assert torch.allclose(front_camera(fov).project(corners), torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double())


def test_the_grid_counts_x_first() -> None:
    grid = grid_points(5, mesh_scale=2.0)
    assert grid.shape == (125, 3)
    assert torch.allclose(grid[(3 * 5 + 1) * 5 + 4], torch.tensor([0.125, -0.125, 0.25]))
    assert grid.aminmax() == (-0.25, 0.25)


def test_a_single_front_view_is_where_it_was() -> None:
    first = front_matrix(2.3)
    (camera,) = relative_cameras([first], [0.5])
    assert torch.allclose(camera.project(points(40)), project(points(40), 0.5, 2.3), atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(angle=st.floats(-3.0, 3.0), lift=st.floats(-1.0, 1.0))
def test_the_world_of_the_cameras_does_not_matter(angle: float, lift: float) -> None:
    """Turning the world with its cameras changes nothing: the first camera defines the grid."""
    turn = Camera(math.degrees(angle), math.degrees(lift), 1.0, fov=40.0).world_to_camera()
    turn[:3, 3] = 0.0
    matrices = [front_matrix(2.0), torch.linalg.inv(Camera(70, 20, 1.7, fov=40.0).world_to_camera())]
    plain = relative_cameras(matrices, [0.5, 0.7])
    turned = relative_cameras([turn @ matrix for matrix in matrices], [0.5, 0.7])
    for one, other in zip(plain, turned):
        assert torch.allclose(one.project(points(20)), other.project(points(20)), atol=1e-9)


def test_a_view_from_the_left_sees_the_grid_turned() -> None:
    """Azimuths grow toward +x: from there -z lies right, and what is near has a large x."""
    rig = orbit(4, distance=4.0, fov=30.0)
    front, side, back, other = rig_cameras(rig)
    x, y, z = points(30).unbind(1)
    fov, distance = math.radians(30), 2.0
    for camera, seen in ((front, (x, y, z)), (side, (-z, y, x)), (back, (-x, y, -z)), (other, (z, y, -x))):
        expected = project(torch.stack(seen, dim=1), fov, distance)
        assert torch.allclose(camera.project(points(30)), expected, atol=1e-12)


def test_rigs_see_the_grid_as_their_cameras_see_the_object() -> None:
    rig = Rig((Camera(0, 0, 4.0, fov=35.0), Camera(50, 25, 3.5, fov=30.0), Camera(200, -10, 4.5, fov=50.0)))
    for camera, found in zip(rig, rig_cameras(rig)):
        pixels, _ = camera.project(2.0 * points(30), 100, 100)
        assert torch.allclose(found.project(points(30)), pixels / 100, atol=1e-9)


def test_a_front_view_from_above_turns_the_grid_with_it() -> None:
    camera = rig_cameras(named_rig("kiss3dgen"))[0]
    expected = project(points(30), math.radians(30), 2.25)
    assert torch.allclose(camera.project(points(30)), expected, atol=1e-9)


def test_what_lies_behind_the_camera_is_at_the_border() -> None:
    behind = torch.tensor([[0.3, -0.2, 0.5]])
    for places in (front_camera(2.5).project(behind), project(behind, 2.5, camera_distance(2.5))):
        assert bool(places.isfinite().all())
        assert float(places[0, 0]) > 1.0 and float(places[0, 1]) > 1.0


def test_refusals() -> None:
    for fov in (0.0, math.pi, -1.0):
        with pytest.raises(Bundle3DError, match="field of view"):
            camera_distance(fov)
    with pytest.raises(Bundle3DError, match="remove its scale"):
        GridCamera(2.0 * torch.eye(4), 0.5)
    with pytest.raises(Bundle3DError, match="remove its scale"):
        GridCamera(torch.eye(3), 0.5)
    with pytest.raises(Bundle3DError, match="remove its scale"):
        GridCamera(front_matrix(math.nan), 0.5)
    with pytest.raises(Bundle3DError, match="remove its scale"):
        relative_cameras([torch.zeros(4, 4), torch.eye(4)], [0.5, 0.5])
    with pytest.raises(Bundle3DError, match="give as many"):
        relative_cameras([], [])
    with pytest.raises(Bundle3DError, match="orthographic"):
        rig_cameras(named_rig("cube6"))
