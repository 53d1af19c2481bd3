from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.views.rig import orbit
from bundle3d.pipelines.volumes import back_projection
from bundle3d.pipelines.volumes.back_projection import (
    back_project,
    back_projected_chunks,
    map_sampler,
    sample_features,
)
from bundle3d.pipelines.volumes.projection import (
    camera_distance,
    front_camera,
    grid_points,
    project,
    rig_cameras,
    sampling_coordinates,
)
from bundle3d.tests.rendering.cases import each_backend
from hypothesis import given, settings
from hypothesis import strategies as st

CAMERAS = rig_cameras(orbit(4, distance=4.0, fov=30.0))


def feature_map(channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid_sampled(plane: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """(N, C) samples by torch's own function."""
    found = torch.nn.functional.grid_sample(
        plane[None], coordinates[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, 0].T


@each_backend
@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_samples_are_those_of_grid_sample(backend: str, height: int, width: int, seed: int) -> None:
    plane = feature_map(5, height, width, seed)
    generator = torch.Generator().manual_seed(seed)
    coordinates = torch.rand(60, 2, generator=generator, dtype=torch.float64) * 4.0 - 2.0
    assert torch.allclose(sample_features(plane, coordinates), grid_sampled(plane, coordinates), atol=1e-12)
    single = sample_features(plane.float(), coordinates.float(), backend)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), grid_sampled(plane, coordinates), atol=1e-4)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
def test_backends_agree() -> None:
    plane = feature_map(70, 16, 12).float()
    coordinates = torch.rand(5000, 2, generator=torch.Generator().manual_seed(3)) * 2.4 - 1.2
    one, other = (sample_features(plane, coordinates, backend) for backend in ("numba", "torch"))
    assert torch.allclose(one, other, atol=1e-5)


@each_backend
def test_coordinates_that_are_not_finite_stay_within_the_map(backend: str) -> None:
    plane = feature_map(2, 3, 4).float()
    coordinates = torch.tensor([[torch.inf, -torch.inf], [torch.nan, torch.inf], [-1e30, torch.nan]])
    expected = torch.stack((plane[:, 0, 3], plane[:, 2, 0], plane[:, 0, 0]))
    assert torch.equal(sample_features(plane, coordinates, backend), expected)


def test_samples_have_gradients_in_map_and_coordinates() -> None:
    plane = feature_map(2, 4, 5).requires_grad_()
    coordinates = torch.tensor([[-0.31, 0.22], [0.57, -0.7], [-1.4, 0.13]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sample_features, (plane, coordinates))


def test_maps_of_several_scales_lie_side_by_side() -> None:
    coarse, fine = feature_map(2, 4, 4), feature_map(3, 16, 16)
    coordinates = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = map_sampler(coarse, fine)(coordinates)
    expected = torch.cat((sample_features(coarse, coordinates), sample_features(fine, coordinates)), dim=1)
    assert torch.equal(found, expected)


def test_the_grid_of_a_single_view_is_sampled_in_closed_form() -> None:
    plane, fov = feature_map(3, 8, 8), 0.7
    points = grid_points(9, 1.2, torch.float64)
    places = project(points, fov, camera_distance(fov, 1.2))
    expected = grid_sampled(plane, sampling_coordinates(places, 128))
    camera = front_camera(fov, camera_distance(fov, 1.2))
    found = back_project([plane], [camera], 9, image_size=128, mesh_scale=1.2)
    assert torch.allclose(found, expected, atol=1e-4)


def test_views_are_averaged() -> None:
    planes = [feature_map(3, 6, 6, seed) for seed in range(4)]
    alone = [back_project([plane], [camera], 7) for plane, camera in zip(planes, CAMERAS)]
    assert torch.allclose(back_project(planes, CAMERAS, 7), torch.stack(alone).mean(0), atol=1e-12)
    assert torch.equal(back_project(planes[:1], CAMERAS[:1], 7), alone[0])


def test_some_voxels_are_those_of_the_whole_grid() -> None:
    planes = [feature_map(3, 6, 6, seed) for seed in range(2)]
    whole = back_project(planes, CAMERAS[:2], 6).reshape(6, 6, 6, 3)
    coords = torch.randint(0, 6, (40, 3), generator=torch.Generator().manual_seed(2), dtype=torch.int32)
    found = back_project(planes, CAMERAS[:2], 6, coords)
    assert torch.allclose(found, whole[tuple(coords.long().T)], atol=1e-12)
    assert back_project(planes, CAMERAS[:2], 6, coords[:0]).shape == (0, 3)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = [feature_map(3, 6, 6, seed) for seed in range(2)]
    whole = back_project(planes, CAMERAS[:2], 6)
    monkeypatch.setattr(back_projection, "CHUNK", 50)
    assert torch.allclose(back_project(planes, CAMERAS[:2], 6), whole, atol=1e-12)
    chunks = list(back_projected_chunks(planes, CAMERAS[:2], 6))
    assert [rows.stop - rows.start for rows, _ in chunks] == [50, 50, 50, 50, 16]
    assert torch.equal(whole[chunks[2][0]], chunks[2][1])


def test_a_ray_carries_one_feature_through_the_grid() -> None:
    """Nothing is hidden: the points on the ray through the image's centre are seen alike."""
    plane = feature_map(4, 5, 5)
    found = back_project([plane], [front_camera()], 9).reshape(9, 9, 9, 4)
    assert torch.allclose(found[4, 4], found[4, 4, :1].expand(9, 4), atol=1e-6)


def test_a_function_may_stand_for_a_map() -> None:
    def where(coordinates: torch.Tensor) -> torch.Tensor:
        return coordinates * 2.0

    found = back_project([where], [front_camera()], 5)
    expected = 2.0 * sampling_coordinates(front_camera().project(grid_points(5)), 512)
    assert torch.allclose(found, expected)


def test_gradients_reach_every_view() -> None:
    planes = [feature_map(2, 3, 3, seed).requires_grad_() for seed in range(2)]
    coords = torch.tensor([[0, 1, 2], [3, 3, 0]])
    assert torch.autograd.gradcheck(lambda *maps: back_project(maps, CAMERAS[:2], 4, coords), planes)
    single = planes[0].detach().float().requires_grad_()
    back_project([single], CAMERAS[:1], 4).sum().backward()
    assert single.grad is not None and bool((single.grad != 0).any())


def test_inference_mode_lifts_the_same() -> None:
    planes = [feature_map(3, 6, 6, seed).float() for seed in range(2)]
    plain = back_project(planes, CAMERAS[:2], 20)
    with torch.inference_mode():
        assert torch.equal(back_project([plane.clone() for plane in planes], CAMERAS[:2], 20), plain)


def test_refuses_other_numbers_of_maps_and_cameras() -> None:
    for planes in ([], [feature_map(1, 2, 2)] * 3):
        with pytest.raises(Bundle3DError, match="give as many"):
            back_project(planes, CAMERAS[:2], 4)


@pytest.mark.parametrize("shape", [(4, 4), (2, 0, 4), (1, 2, 4, 4)])
def test_refuses_maps_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(Bundle3DError, match="give one for each"):
        sample_features(torch.zeros(shape), torch.zeros(1, 2))
