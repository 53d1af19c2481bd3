from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview.view_images import empty_views, views_from_images
from bundle3d.pipelines.views.rig import named_rig

RIG = named_rig("lrm")
COLOR = torch.tensor([0.8, 0.3, 0.1])


def disc(size: int = 32) -> torch.Tensor:
    """Exact coverage, nearly, of a disc with a hole of a third of its radius."""
    fine = (torch.arange(size * 8) + 0.5) / (size * 4) - 1
    radius = (fine[:, None] ** 2 + fine[None] ** 2).sqrt()
    inside = ((radius < 0.7) & (radius > 0.23)).float()
    return torch.nn.functional.avg_pool2d(inside[None], 8)[0]


def pictures(background: float) -> tuple[torch.Tensor, torch.Tensor]:
    coverage = disc()[None].expand(4, -1, -1)
    images = coverage[..., None] * COLOR + (1 - coverage[..., None]) * background
    return images, coverage


@pytest.mark.parametrize("background", [1.0, 0.5, 0.0])
def test_the_object_comes_out_on_white_whatever_it_was_on(background: float) -> None:
    images, coverage = pictures(background)
    before = images.clone()
    views = views_from_images(images, RIG)
    expected = coverage[..., None] * COLOR + (1 - coverage[..., None])
    assert float((views.mask - coverage).abs().max()) < 0.12
    assert float((views.rgb - expected).abs().max()) < 0.12 and torch.equal(views.rgb[0, 0, 0], torch.ones(3))
    assert float(views.mask[0, 16, 16]) == 0.0  # the hole
    assert not views.normal.any() and torch.equal(images, before)


def test_given_masks_count() -> None:
    images, coverage = pictures(0.5)
    masks = coverage.clone()
    masks[:, :, :16] = 0.0
    views = views_from_images(images, RIG, masks)
    assert torch.equal(views.mask, masks) and bool((views.rgb[:, :, :16] == 1.0).all())
    torch.testing.assert_close(views.rgb[0, 16, 22], COLOR)


def test_specks_and_noise_are_no_object_and_pinholes_are() -> None:
    images, coverage = pictures(1.0)
    images = images + 0.02 * (torch.rand(images.shape, generator=torch.Generator().manual_seed(0)) - 0.5)
    images[:, 1, 1] = 0.0
    images[:, 16, 22] = 1.0
    views = views_from_images(images, RIG)
    assert float(views.mask[0, 1, 1]) == 0.0 and float(views.mask[0, 16, 22]) > 0.5
    assert float((views.mask[:, 2:, 2:] - coverage[:, 2:, 2:]).abs().mean()) < 0.01


def test_a_view_that_shows_nothing_has_an_empty_mask() -> None:
    images, _ = pictures(1.0)
    images[1] = 0.97
    views = views_from_images(images, RIG)
    assert not views.mask[1].any() and bool((views.rgb[1] == 1.0).all()) and bool(views.mask[[0, 2, 3]].any())
    assert empty_views(views) == "view 2 shows"
    assert empty_views(views_from_images(images[[1, 0, 1, 1]], RIG)) == "views 1, 3 and 4 show"
    assert empty_views(views_from_images(images[[0, 2, 3, 0]], RIG)) == ""


def test_refusals() -> None:
    images, _ = pictures(1.0)
    for arguments, words in (
        ((images[:3], RIG), "4 square RGB views for the rig lrm"),
        ((images[:, :20], RIG), "4 square RGB views"),
        ((images, RIG, torch.ones(4, 8, 8)), "Expected masks"),
        ((images * float("nan"), RIG), "NaN"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            views_from_images(*arguments)
