"""Mattes against images whose object is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.photo.matte import cut_out, matte_by_color, matte_of_drawing

from .image_files import BOX, OBJECT, mask, scene, values

SENTENCE = r"^Expected .*; .*\.$"
GREY = 0.5


def disc(size: int = 96, radius: float = 30.0, hole: float = 0.0) -> torch.Tensor:
    """(size, size) coverage of an antialiased disc in the middle, with a round hole."""
    axis = torch.arange(size) + 0.5 - size / 2
    distance = torch.hypot(axis[:, None], axis[None])
    return (radius + 0.5 - distance).clamp(0, 1) - (hole + 0.5 - distance).clamp(0, 1) * (hole > 0)


def over(coverage: torch.Tensor, background: float = GREY, noise: float = 0.0) -> torch.Tensor:
    """The object's colour over a grey, with noise of that standard deviation."""
    share = coverage[..., None]
    image = share * values(np.array(OBJECT, dtype=np.uint8)) + (1 - share) * background
    return (image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def test_a_mask_counts_first_then_alpha_then_the_background() -> None:
    image, truth = values(scene()), values(mask())
    other = truth.roll(5, dims=1)
    assert torch.equal(cut_out(image, alpha=truth, mask=other).alpha, other)
    assert torch.equal(cut_out(image, alpha=truth).alpha, truth)
    assert torch.equal(cut_out(image, alpha=truth, mask=other, by="alpha").alpha, truth)
    by_color = cut_out(image)
    assert torch.equal(by_color.alpha, truth)
    assert by_color.notes == ("Cut out by the background's colour, #fafafa.",)
    full = torch.ones_like(truth)
    assert torch.equal(cut_out(image, alpha=full, mask=full).alpha, truth), "what is 1 everywhere says nothing"
    assert torch.equal(cut_out(image, alpha=truth, mask=full, by="mask").alpha, full), "but where it is asked for"
    assert torch.equal(cut_out(image, alpha=truth, by="background colour").alpha, truth)


def test_inputs_stay_as_they_are() -> None:
    image, truth = values(scene()), values(mask())
    before = image.clone(), truth.clone()
    cut_out(image, mask=truth)
    matte_by_color(image)
    assert torch.equal(image, before[0]) and torch.equal(truth, before[1])


def test_masks_of_another_size_are_scaled_and_of_another_shape_refused() -> None:
    image, truth = values(scene()), values(mask())
    half = truth[::2, ::2]
    scaled = cut_out(image, mask=half).alpha
    assert scaled.shape == truth.shape and float((scaled - truth).abs().mean()) < 0.03
    with pytest.raises(Bundle3DError, match=SENTENCE):
        cut_out(image, mask=truth[:, :40])


@pytest.mark.parametrize("empty", [torch.zeros(40, 64), torch.zeros(64, 64), torch.full((40, 64), 0.01)])
def test_an_empty_mask_is_refused(empty: torch.Tensor) -> None:
    with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
        cut_out(values(scene()), mask=empty)
    assert "it is empty" in str(refusal.value) and "invert" in str(refusal.value)
    assert "own alpha, choose another photo or export it with its object" in str(refusal.value), "as of Load Photo"
    with pytest.raises(Bundle3DError, match=r"alpha channel.* it is empty") as refusal:
        cut_out(values(scene()), alpha=torch.zeros(40, 64))
    assert "invert" not in str(refusal.value), "an alpha channel has no switch"
    assert "export the photo with its object, choose another one" in str(refusal.value)


@pytest.mark.parametrize("by", ["mask", "alpha"])
def test_what_is_asked_for_has_to_be_there(by: str) -> None:
    with pytest.raises(Bundle3DError, match=SENTENCE):
        cut_out(values(scene()), by=by)
    with pytest.raises(Bundle3DError, match="a way to cut out"):
        cut_out(values(scene()), by="magic")


@pytest.mark.parametrize("background", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("noise", [0.0, 0.008])
def test_a_disc_before_a_plain_background(background: float, noise: float) -> None:
    coverage = disc()
    matte = matte_by_color(over(coverage, background, noise))
    assert float((matte.alpha - coverage).abs().mean()) < 0.01
    assert bool((matte.alpha[coverage == 1] == 1).all()) and bool((matte.alpha[disc(radius=33) == 0] == 0).all())
    rim = (coverage > 0.3) & (coverage < 1)
    shown = matte.rgb * matte.alpha[..., None] + (1 - matte.alpha[..., None]) * background
    assert float((shown - over(coverage, background, noise))[rim].abs().max()) < 0.03, "the image comes back"


@pytest.mark.parametrize("background", [1.0, 0.2])
def test_the_rims_of_drawings_keep_none_of_the_background(background: float) -> None:
    coverage, own = disc(hole=12.0), values(np.array(OBJECT, dtype=np.uint8))
    matte = matte_of_drawing(over(coverage, background))
    torch.testing.assert_close(matte.alpha, coverage, atol=0.06, rtol=0)
    torch.testing.assert_close(
        matte.rgb[matte.alpha > 0.1], own.expand(int((matte.alpha > 0.1).sum()), 3), atol=0.1, rtol=0
    )


def test_holes_are_background_and_specks_and_wanted_ones_are_not() -> None:
    ring = disc(hole=12.0)
    image = over(ring)
    assert float((matte_by_color(image).alpha - ring).abs().mean()) < 0.01
    assert float((matte_by_color(image, holes=False).alpha - disc()).abs().mean()) < 0.01
    image = over(disc())
    image[47:49, 47:49] = GREY  # 4 of 9216 pixels
    assert float(matte_by_color(image).alpha[47:49, 47:49].min()) == 1.0


def test_an_object_that_leaves_the_image_is_found() -> None:
    truth = torch.zeros(80, 100)
    truth[40:, 30:60] = 1.0
    assert torch.equal(matte_by_color(over(truth)).alpha, truth)


def test_a_background_of_many_colours_is_refused_and_names_the_nodes_to_use() -> None:
    generator = torch.Generator().manual_seed(1)
    for image in (
        torch.rand(60, 60, 3, generator=generator),
        torch.linspace(0, 1, 60)[:, None, None].expand(60, 60, 3),
    ):
        with pytest.raises(Bundle3DError, match=SENTENCE) as refusal:
            cut_out(image)
        assert "Remove Background" in str(refusal.value)


def test_an_image_of_one_colour_is_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"has one colour; choose another one\.$"):
        cut_out(torch.full((60, 60, 3), 0.3))


def test_the_box_of_the_scene_is_the_object() -> None:
    rows, columns = matte_by_color(values(scene())).alpha.nonzero().unbind(1)
    assert (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1) == BOX


def test_a_mask_that_shows_the_surroundings_is_named() -> None:
    image, truth = values(scene()), values(mask())
    (said, advice) = cut_out(image, mask=1.0 - truth).notes  # as ComfyUI's Load Image gives it
    assert said == "Cut out by the mask." and "invert_mask" in advice
    assert cut_out(image, mask=truth).notes == (said,)
    assert cut_out(image, mask=torch.ones_like(truth), by="mask").notes == (said,), "the photo shows the object alone"


@pytest.mark.parametrize("what", ["rgb", "alpha", "mask"])
def test_pixels_that_are_no_numbers_are_refused(what: str) -> None:
    given = {"rgb": values(scene()), "alpha": values(mask()), "mask": values(mask())}
    given[what] = given[what].clone()
    given[what][20, 20] = float("nan")
    with pytest.raises(Bundle3DError, match="NaN or infinite"):
        cut_out(**given)


def test_images_without_three_colours_are_refused() -> None:
    for image in (values(scene())[..., :1], values(mask()), torch.zeros(0, 4, 3)):
        with pytest.raises(Bundle3DError, match=SENTENCE):
            cut_out(image)
