"""Photos fitted into their square on white, and the camera that the specification derives for them."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2.prepare import fit_on_white, pictured_on_white
from bundle3d.pipelines.volumes.projection import sampling_coordinates, voxel_points


def test_the_object_is_fitted_into_the_middle_on_white() -> None:
    rgb, alpha = torch.zeros(300, 200, 3), torch.zeros(300, 200)
    rgb[..., 0] = 1.0
    alpha[100:220, 50:110] = 1.0  # 60 wide and 120 high, which becomes 239 by 478
    image, mask = fit_on_white(rgb, alpha)
    assert image.shape == (518, 518, 3) and mask.shape == (518, 518)
    rows, columns = (mask > 0).nonzero().unbind(1)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (20, 497, 139, 377)
    assert image[259, 259].tolist() == [1.0, 0.0, 0.0]
    assert image[10, 10].tolist() == [1.0, 1.0, 1.0] and float(image[259, 138].min()) == 1.0


def test_the_faint_noise_of_a_matte_does_not_make_the_object_smaller() -> None:
    rgb, alpha = torch.full((60, 60, 3), 0.5), torch.zeros(60, 60)
    alpha[10:30, 20:40] = 1.0
    noisy = alpha.clone()
    noisy[::7, ::5] = noisy[::7, ::5].clamp(min=6 / 255)
    clean, fitted = fit_on_white(rgb, alpha)[1], fit_on_white(rgb, noisy)[1]
    assert torch.equal(clean, fitted)


def test_half_alpha_is_half_white() -> None:
    image, mask = fit_on_white(torch.zeros(4, 4, 3), torch.full((4, 4), 128 / 255))
    assert image[259, 259].tolist() == pytest.approx([127 / 255] * 3)
    assert float(mask[259, 259]) == pytest.approx(128 / 255)
    assert float(image[0, 0, 0]) == 1.0


def test_the_camera_is_where_the_specification_puts_it() -> None:
    # f = 518 / (2 tan 0.1) = 2581.3609 pixels; the edge of the cube, 0.5 / 0.9 from the middle, 279 pixels from it.
    shown = pictured_on_white(torch.ones(518, 518, 3), torch.ones(518, 518))
    [camera] = shown.pictures.cameras
    assert float(camera.camera_to_world[1, 3]) == pytest.approx(-5.1401, abs=1e-4)
    # The published two-step script begins with a scale of 0.5: the edge is one side of the cube away.
    half = pictured_on_white(torch.ones(518, 518, 3), torch.ones(518, 518), 0.2, 0.5)
    assert float(half.pictures.cameras[0].camera_to_world[1, 3]) == pytest.approx(-9.2522, abs=1e-4)


@pytest.mark.parametrize(
    ("voxel", "x", "y"),
    [
        # x: pixel 259 - 279 = -20, and half a pixel more, is (-19.5 / 518) 2 - 1; the middle plane is z = 0 alone, so
        # for grid depth z the distance from the middle is 279 d / (d - z), with d = 5.140105 and z = -+0.555556.
        ((0, 0, 0), -0.970217, 0.974078),
        ((15, 0, 15), 1.209688, 1.209688),
        ((15, 15, 15), 1.209688, -1.205827),
        ((0, 15, 0), -0.970217, -0.970217),
    ],
)
def test_corners_of_the_volume_appear_where_the_specification_says(
    voxel: tuple[int, int, int], x: float, y: float
) -> None:
    shown = pictured_on_white(torch.ones(518, 518, 3), torch.ones(518, 518)).pictures
    points = voxel_points(torch.tensor([voxel]), 16, shown.mesh_scale, torch.float64)
    found = sampling_coordinates(shown.cameras[0].project(points), 518)[0].tolist()
    assert found == pytest.approx([x, y], abs=1e-5)


def test_the_middle_plane_overhangs_the_square_by_its_padding() -> None:
    for fov, scale in ((0.2, 0.9), (0.7, 0.5)):
        shown = pictured_on_white(torch.ones(9, 9, 3), torch.ones(9, 9), fov, scale).pictures
        edge = torch.tensor([[-0.5 / scale, 0.5 / scale, 0.0]], dtype=torch.float64)
        assert (518 * shown.cameras[0].project(edge))[0].tolist() == pytest.approx([-20.0, -20.0], abs=1e-6)


def test_what_is_seen_is_the_same_with_any_scale() -> None:
    voxels, seen = torch.tensor([[0, 3, 9], [15, 15, 15], [2, 7, 0]]), []
    for scale in (0.3, 0.9, 2.0):
        shown = pictured_on_white(torch.ones(9, 9, 3), torch.ones(9, 9), 0.2, scale).pictures
        seen.append(shown.cameras[0].project(voxel_points(voxels, 16, scale, torch.float64)))
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(seen[0], seen[2])


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_other_scales_are_refused(scale: float) -> None:
    with pytest.raises(Bundle3DError, match="positive scale"):
        pictured_on_white(torch.ones(9, 9, 3), torch.ones(9, 9), 0.2, scale)


def test_photos_without_an_object_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="mask is empty"):
        fit_on_white(torch.ones(8, 8, 3), torch.zeros(8, 8))
    with pytest.raises(Bundle3DError, match="same size"):
        fit_on_white(torch.ones(8, 8, 3), torch.ones(8, 9))
