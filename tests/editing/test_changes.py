from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.changes import changes, compare_views, resized, show_the_same
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.meshes.shapes import soup, torus


def grey(size: int = 32) -> ViewSet:
    rig = named_rig("kiss3dgen")
    mask = torch.ones(4, size, size)
    return ViewSet(torch.full((4, size, size, 3), 0.5), torch.zeros(4, size, size, 3), mask, rig)


def test_equal_views_and_noise_of_eight_bits_count_as_unchanged() -> None:
    views = grey()
    assert not changes(views, views).any()
    noise = torch.rand(views.rgb.shape, generator=torch.Generator().manual_seed(0)) * 3.0 / 255.0
    noisy = replace(views, rgb=views.rgb + noise - 1.5 / 255.0)
    assert not changes(views, noisy).any()


def test_a_changed_pixel_counts_within_its_window_only() -> None:
    views = grey()
    rgb = views.rgb.clone()
    rgb[1, 10, 20, 2] += 0.3
    found = changes(views, replace(views, rgb=rgb))
    expected = torch.zeros(4, 32, 32)
    expected[1, 8:13, 18:23] = 1.0
    assert torch.equal(found, expected)


def test_it_grows_smoothly_with_the_difference() -> None:
    views = grey()
    steps = [float(changes(views, replace(views, rgb=views.rgb + k / 255.0)).max()) for k in range(15)]
    assert steps[2] == 0.0 and steps[12] == 1.0 and steps == sorted(steps)
    assert steps[7] == pytest.approx(0.5, abs=1e-3)


def test_what_lies_beside_the_object_does_not_count() -> None:
    views = replace(grey(), mask=torch.zeros(4, 32, 32))
    assert not changes(views, replace(views, rgb=views.rgb * 0.1)).any()


def test_larger_views_are_compared_in_their_own_size() -> None:
    small, large = grey(32), grey(64)
    assert not changes(small, large).any()
    rgb = large.rgb.clone()
    rgb[0, 32:, :, 0] = 0.9
    found = compare_views(small, replace(large, rgb=rgb))
    assert found.share.shape == (4, 64, 64)
    assert not found.share[0, :30].any() and bool((found.share[0, 32:] == 1.0).all()) and not found.share[1:].any()


def test_views_of_other_cameras_are_refused() -> None:
    views = grey()
    with pytest.raises(Bundle3DError, match="like"):
        changes(views, replace(views, rig=views.rig.scaled(2.0)))


def test_what_shows_the_same_does_so_at_every_size_and_in_eight_bits() -> None:
    before = render_views(normalise(soup(torus(0.65, 0.3, 24, 12))), named_rig("kiss3dgen"), 96, "matte")
    whole = join_bundle(before)
    for size in (48, 96, 192):
        picture = resized(whole[None], (2 * size, 4 * size))[0]
        for image in (picture, (picture * 255).round() / 255):
            assert show_the_same(before, split_bundle(image))
    assert not show_the_same(before, replace(before, normal=before.normal.roll(4, 1)))
    assert not show_the_same(before, replace(before, rgb=before.rgb * 0.9))
