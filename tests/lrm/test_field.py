"""Sampling of planes and queries in chunks."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.lrm import field as module
from bundle3d.pipelines.lrm.field import TriplaneField
from bundle3d.pipelines.lrm.triplane import sample_planes
from bundle3d.tests.lrm.make_small import small_model, wave_points


@pytest.fixture(scope="module")
def field() -> TriplaneField:
    noise = torch.Generator().manual_seed(0)
    return TriplaneField(small_model().decoder, torch.randn(3, 8, 8, 8, generator=noise))


def test_each_plane_is_read_along_its_two_axes() -> None:
    """Planes that hold their own coordinates give them back where bilinear sampling is exact."""
    centres = (torch.arange(16) + 0.5) / 8 - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    planes = torch.stack((columns, rows)).expand(3, -1, -1, -1)[None]
    points = torch.rand(50, 3) * 1.8 - 0.9
    x, y, z = points.unbind(-1)
    expected = torch.stack((x, y, x, z, z, y), dim=-1)
    torch.testing.assert_close(sample_planes(planes, points[None])[0], expected, atol=1e-6, rtol=0)


def test_outside_the_planes_features_are_zero() -> None:
    points = torch.tensor([[[1.2, 1.2, 1.2], [-1.2, 0.0, 1.3]]])
    features = sample_planes(torch.ones(1, 3, 4, 16, 16), points)
    assert torch.equal(features[0, 0], torch.zeros(12))
    assert torch.equal(features[0, 1], torch.zeros(12))
    half = sample_planes(torch.ones(1, 3, 4, 16, 16), torch.tensor([[[1.0, 0.0, 0.0]]]))
    torch.testing.assert_close(half[0, 0], torch.tensor([0.5] * 8 + [1.0] * 4))


def test_a_grid_is_what_its_points_are(field: TriplaneField) -> None:
    axis = torch.linspace(-1.05, 1.05, 18)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    torch.testing.assert_close(field.sdf_grid(axis).flatten(), field.sdf(points.flatten(0, 2)), atol=1e-5, rtol=1e-5)


def test_chunks_change_nothing_and_are_reported(field: TriplaneField, monkeypatch: pytest.MonkeyPatch) -> None:
    points = wave_points(80)
    whole = (field.sdf(points), field.deformation(points), field.color(points), field.material(points))
    rows = torch.arange(80).flip(0).reshape(10, 8)
    weights = field.cube_weights(points, rows)
    monkeypatch.setattr(module, "POINTS", 32)
    reports = []
    pieces = (field.sdf(points, lambda *report: reports.append(report)), field.deformation(points))
    pieces += (field.color(points), field.material(points))
    for piece, expected in zip(pieces, whole):
        torch.testing.assert_close(piece, expected)
    torch.testing.assert_close(field.cube_weights(points, rows), weights)
    assert reports == [(32, 80), (64, 80), (80, 80)]


def test_no_points_give_no_values(field: TriplaneField) -> None:
    assert field.color(torch.zeros(0, 3)).shape == (0, 3)
    assert field.cube_weights(torch.zeros(0, 3), torch.zeros(0, 8, dtype=torch.int64)).shape == (0, 21)


def test_colors_and_materials_stay_in_range(field: TriplaneField) -> None:
    points = wave_points(200)
    for values in (field.color(points), field.material(points)):
        assert 0.0 <= float(values.min()) <= float(values.max()) <= 1.0
