from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.canny import canny
from bundle3d.pipelines.diffusion.control_image import MODES, control_image

IMAGE = torch.rand(64, 96, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["tile", "lq"])
def test_without_coarsening_only_the_rounding_to_8_bit_is_left(mode: str) -> None:
    seen = control_image(IMAGE, mode, 64, 96)
    torch.testing.assert_close(seen * 255, (IMAGE * 255).round(), rtol=0, atol=1e-3)


def test_coarsening_removes_detail_and_keeps_gradients() -> None:
    columns = torch.linspace(0, 1, 96).expand(64, 96)[..., None].expand(64, 96, 3)
    seen = control_image(columns, "tile", 64, 96, down_scale=4)
    torch.testing.assert_close(seen[:, 8:-8], columns[:, 8:-8], rtol=0, atol=1 / 255)
    checkers = ((torch.arange(64)[:, None] + torch.arange(96)) % 2).float()[..., None].expand(64, 96, 3)
    assert float(control_image(checkers, "tile", 64, 96, down_scale=2).std()) < 0.01


def test_blur_spreads_a_point_as_a_gaussian_of_two_pixels() -> None:
    point = torch.zeros(64, 96, 3)
    point[30, 40] = 1
    seen = control_image(point, "blur", 64, 96)[..., 0]
    torch.testing.assert_close(seen.sum(), torch.tensor(1.0), rtol=0, atol=1e-5)
    distance = (torch.arange(64)[:, None] - 30) ** 2 + (torch.arange(96) - 40) ** 2
    expected = torch.exp(-distance / (2 * 2.0**2)) / (2 * torch.pi * 2.0**2)
    torch.testing.assert_close(seen, expected, rtol=0, atol=1e-5)


def test_blur_keeps_a_constant_picture_up_to_the_border() -> None:
    torch.testing.assert_close(
        control_image(torch.full((20, 96, 3), 0.3), "blur", 20, 96), torch.full((20, 96, 3), 0.3)
    )


@pytest.mark.parametrize("mode", ["canny", "depth", "normal", "pose", "gray"])
def test_maps_are_taken_as_they_come(mode: str) -> None:
    assert torch.equal(control_image(IMAGE, mode, 64, 96), IMAGE)


def test_maps_are_made_from_a_bundle() -> None:
    assert torch.equal(control_image(IMAGE, "canny", 64, 96, make_map=True), canny(IMAGE))
    assert canny(IMAGE).any() and not canny(IMAGE).all()
    normals = control_image(IMAGE, "normal", 64, 96, make_map=True)
    assert torch.equal(normals[:32], IMAGE[32:]) and torch.equal(normals[32:], IMAGE[32:])


def test_maps_are_made_at_the_size_of_the_drawing() -> None:
    edges = control_image(IMAGE, "canny", 128, 192, make_map=True)
    assert edges.shape == (128, 192, 3) and edges.unique().tolist() == [0.0, 1.0]
    assert control_image(IMAGE, "normal", 33, 50, make_map=True).shape == (33, 50, 3)


@pytest.mark.parametrize("mode", sorted({*MODES} - {"canny", "normal"}))
def test_other_modes_have_no_map_to_make(mode: str) -> None:
    made, taken = (control_image(IMAGE, mode, 64, 96, 2.0, make_map=make_map) for make_map in (True, False))
    assert torch.equal(made, taken)


def test_another_size_is_resized() -> None:
    assert control_image(IMAGE, "canny", 32, 48).shape == (32, 48, 3)
    assert control_image(torch.full((10, 10, 3), 0.25), "depth", 32, 48).unique().tolist() == [0.25]


def test_input_is_left_alone() -> None:
    before = IMAGE.clone()
    for mode in ("tile", "blur", "canny"):
        control_image(IMAGE, mode, 64, 96, 2, make_map=True)
    assert torch.equal(IMAGE, before)
