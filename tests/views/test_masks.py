"""Coverage at antialiased rims, against an analytic sphere."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.views import bundle
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.masks import (
    border_colors,
    border_pixels,
    flattened,
    mask_box,
    soften_mask,
    unmix_white,
    white_behind,
)
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet

from .shapes import sphere_views


@pytest.fixture(scope="module")
def sphere() -> ViewSet:
    return sphere_views(named_rig("kiss3dgen"), 64)


def rim_of(mask: torch.Tensor) -> torch.Tensor:
    return (mask > 0.0) & (mask < 1.0)


def test_coverage_of_an_antialiased_bundle_is_found(sphere: ViewSet) -> None:
    image = (join_bundle(sphere) * 255.0).round() / 255.0
    rim = rim_of(sphere.mask)
    soft, hard = (split_bundle(image, soft=soft).mask - sphere.mask for soft in (True, False))
    assert float(soft[rim].abs().mean()) < 0.02 < 0.25 < float(hard[rim].abs().mean())
    assert abs(float(soft[rim].mean())) < 0.01
    assert float(soft[~rim].abs().max()) < 0.06


def test_one_view_is_softened_at_a_time(sphere: ViewSet, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, told = [], []
    original = bundle.soften_mask
    monkeypatch.setattr(bundle, "soften_mask", lambda mask, *rest: shapes.append(len(mask)) or original(mask, *rest))
    split_bundle(join_bundle(sphere), progress=lambda done, total, preview=None: told.append((done, total)))
    assert shapes == [1] * 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_normals_at_the_rim_are_freed_of_the_white(sphere: ViewSet) -> None:
    image = (join_bundle(sphere) * 255.0).round() / 255.0
    rim = (sphere.mask > 0.2) & (sphere.mask < 1.0)
    angles = []
    for soft in (True, False):
        cosine = (split_bundle(image, soft=soft).normal * sphere.normal).sum(-1).clamp(-1.0, 1.0)
        angles.append(float(torch.rad2deg(torch.acos(cosine[rim])).mean()))
    assert angles[0] < 4.0 < 20.0 < angles[1]


def test_hard_edges_stay_hard() -> None:
    mask = torch.zeros(1, 12, 12)
    mask[:, 3:9, 3:9] = 1.0
    rgb = torch.where(mask[..., None] > 0, torch.tensor((0.2, 0.5, 0.4)), torch.ones(3))
    assert torch.equal(soften_mask(mask, rgb), mask)


def test_white_objects_keep_their_mask() -> None:
    mask = torch.zeros(1, 12, 12)
    mask[:, 3:9, 3:9] = 1.0
    assert torch.equal(soften_mask(mask, torch.ones(1, 12, 12, 3)), mask)


def test_objects_that_leave_the_tile_are_covered_up_to_its_border() -> None:
    mask = torch.zeros(1, 12, 12)
    mask[:, :, :6] = 1.0
    rgb = torch.where(mask[..., None] > 0, torch.tensor((0.2, 0.5, 0.4)), torch.ones(3))
    assert torch.equal(soften_mask(mask, rgb), mask)


def test_unmixing_inverts_mixing() -> None:
    generator = torch.Generator().manual_seed(1)
    colors, mask = torch.rand(2, 5, 5, 3, generator=generator), 0.2 + 0.8 * torch.rand(2, 5, 5, generator=generator)
    mixed = colors * mask[..., None] + 1.0 - mask[..., None]
    assert torch.allclose(unmix_white(mixed, mask), colors, atol=1e-5)


def test_the_background_is_the_median_of_the_border() -> None:
    images = torch.full((2, 9, 9, 3), 0.25)
    images[1] = 0.75
    images[:, 0, 3:6] = 0.0  # the object touches the border
    assert border_colors(images).tolist() == [[0.25] * 3, [0.75] * 3]
    assert border_pixels(images, 2).shape == (2, 72, 3)
    images[:, 2:7, 2:7] = 0.5
    assert not (border_pixels(images, 2) == 0.5).any() and bool((border_pixels(images, 3) == 0.5).any())


def test_white_takes_the_place_of_background_and_of_transparency() -> None:
    coverage = torch.tensor([[0.0, 0.25, 1.0]])
    color, background = torch.tensor((0.8, 0.3, 0.1)), torch.tensor((0.2, 0.5, 0.0))
    on_white = coverage[..., None] * color + 1.0 - coverage[..., None]
    mixed = coverage[..., None] * color + (1.0 - coverage[..., None]) * background
    mixed[0, 0] = 0.7  # what is behind the object is not even
    torch.testing.assert_close(white_behind(mixed, coverage, background), on_white)
    straight = torch.cat((color.expand(1, 3, 3), coverage[..., None]), dim=-1)
    torch.testing.assert_close(flattened(straight), on_white)
    assert flattened(mixed) is mixed


def test_the_box_of_a_mask() -> None:
    solid = torch.zeros(6, 8, dtype=torch.bool)
    solid[2:5, 1] = solid[3, 1:7] = True
    assert mask_box(solid) == (1, 2, 7, 5)
    with pytest.raises(Bundle3DError, match="empty"):
        mask_box(solid & False)
