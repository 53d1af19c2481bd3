"""Coverage at antialiased rims, against an analytic sphere."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.views import bundle
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.masks import soften_mask, unmix_white
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
