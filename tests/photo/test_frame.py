"""Framing against boxes whose place is known."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.photo.frame import frame_object

from .image_files import BOX, mask, scene, values

SENTENCE = r"^Expected .*; .*\.$"
SIZE = 200


def extent(alpha: torch.Tensor) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is more than half covered."""
    rows, columns = (alpha > 0.5).nonzero().unbind(1)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def photo(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (100, 160)) -> tuple[torch.Tensor, torch.Tensor]:
    """A scene of boxes and its mask."""
    return values(scene(boxes, shape)), values(mask(boxes, shape))


@pytest.mark.parametrize("ratio", [0.5, 0.85, 1.0])
@pytest.mark.parametrize("box", [(10, 20, 60, 45), (100, 5, 130, 95), (0, 0, 160, 100)])
def test_the_longer_side_takes_the_ratio_and_the_object_is_centred(
    ratio: float, box: tuple[int, int, int, int]
) -> None:
    framed = frame_object(*photo(box), size=SIZE, ratio=ratio)
    assert framed.rgb.shape == (SIZE, SIZE, 3) and framed.alpha.shape == (SIZE, SIZE)
    left, top, right, bottom = extent(framed.alpha)
    width, height = box[2] - box[0], box[3] - box[1]
    pixel = SIZE * ratio / max(width, height)  # of the photo, in the square
    assert max(right - left, bottom - top) == pytest.approx(ratio * SIZE, abs=1.5 + pixel * ratio)
    assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.05)
    assert abs(left + right - SIZE) <= pixel + 2 and abs(top + bottom - SIZE) <= pixel + 2


def test_without_a_size_pixels_are_copied() -> None:
    rgb, alpha = photo(BOX, shape=(60, 64))
    framed = frame_object(rgb, alpha)
    x, y, side = framed.square
    assert side == int((BOX[2] - BOX[0]) / 0.85) == len(framed.rgb)
    for row, column in ((y + 20, x + 5), (y + side // 2, x + side // 2)):
        assert torch.equal(framed.rgb[row - y, column - x], torch.where(alpha[row, column] > 0, rgb[row, column], 1.0))
    assert framed.notes == ()


@pytest.mark.parametrize(("background", "value"), [("white", 1.0), ("grey", 127 / 255), ("black", 0.0)])
def test_the_background_is_of_the_chosen_colour_and_rims_mix_with_it(background: str, value: float) -> None:
    rgb, alpha = photo(BOX, shape=(60, 64))
    soft = alpha * 0.5 + 0.1 * (alpha == 0)
    soft[:5] = soft[-5:] = soft[:, :5] = soft[:, -5:] = 0.0
    soft[BOX[1] + 5, BOX[0] + 5] = 1.0
    framed = frame_object(rgb, soft, size=SIZE, background=background, objects="all")
    assert torch.allclose(framed.rgb[0, 0], torch.full((3,), value))
    middle = framed.rgb[SIZE // 2, SIZE // 2]
    assert torch.allclose(middle, 0.5 * rgb[BOX[1] + 1, BOX[0] + 1] + 0.5 * value, atol=0.01)
    assert float(framed.alpha[SIZE // 2, SIZE // 2]) == pytest.approx(0.5, abs=0.01)


def test_the_reference_frames_the_whole_photo_without_its_last_row_and_column() -> None:
    rgb, alpha = photo((70, 40, 90, 60))
    framed = frame_object(rgb, alpha, framing="reference")
    side = int(159 / 0.85)
    assert framed.square == (-((side - 159) // 2), -((side - 99) // 2), side)
    x, y, _ = framed.square
    assert extent(framed.alpha) == (70 - x, 40 - y, 90 - x, 60 - y)
    fixed = frame_object(rgb, alpha)
    assert extent(fixed.alpha)[2] - extent(fixed.alpha)[0] == 20 and len(fixed.rgb) == int(20 / 0.85)


def test_an_object_at_the_edge_is_noted() -> None:
    assert frame_object(*photo((0, 20, 50, 60))).notes == (
        "The object touches the edge of the photo; what lies beyond is missing.",
    )
    assert frame_object(*photo((1, 1, 159, 99))).notes == ()


def test_of_several_objects_the_largest_is_kept() -> None:
    large, small, speck = (10, 10, 60, 80), (110, 20, 140, 50), (80, 90, 82, 92)
    rgb, alpha = photo(large, small, speck)
    for objects in ("automatic", "largest"):
        framed = frame_object(rgb, alpha, objects=objects)
        assert torch.equal(framed.rgb, frame_object(*photo(large)).rgb)
        assert framed.notes == ("Of 2 objects the largest is kept, 79% of them all; choose all to keep the others.",)
    whole = frame_object(rgb, alpha, objects="all")
    assert whole.square[2] == int((140 - 10) / 0.85) and whole.notes == ()


def test_pieces_near_each_other_are_one_object() -> None:
    seat, leg = (20, 20, 80, 50), (30, 53, 40, 90)  # a gap of 3 pixels in a photo of 189 across
    rgb, alpha = photo(seat, leg)
    framed = frame_object(rgb, alpha)
    assert framed.notes == () and int((framed.alpha > 0.5).sum()) == int((alpha > 0.5).sum())
    alone = frame_object(rgb, alpha, objects="largest")
    assert int((alone.alpha > 0.5).sum()) == 60 * 30


def test_a_faint_haze_does_not_widen_the_box() -> None:
    rgb, alpha = photo((40, 40, 80, 80))
    assert torch.equal(frame_object(rgb, alpha.clamp(min=0.05)).alpha > 0.5, frame_object(rgb, alpha).alpha > 0.5)


@pytest.mark.parametrize("objects", ["automatic", "all"])
def test_an_empty_mask_is_refused(objects: str) -> None:
    rgb, alpha = photo(BOX)
    with pytest.raises(Bundle3DError, match=SENTENCE):
        frame_object(rgb, alpha * 0.0, objects=objects)


@pytest.mark.parametrize(
    "wrong", [{"size": 8}, {"size": 99999}, {"ratio": 0.0}, {"ratio": 1.5}, {"background": "blue"}, {"objects": "two"}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Bundle3DError, match=SENTENCE):
        frame_object(*photo(BOX), **wrong)  # type: ignore[arg-type]


def test_one_pixel_of_object_is_framed() -> None:
    framed = frame_object(*photo((80, 50, 81, 51)), size=64)
    assert float(framed.alpha.max()) > 0.9 and torch.isfinite(framed.rgb).all()


def test_a_square_that_no_memory_holds_is_refused() -> None:
    whole = torch.ones(1, 1700)  # at a ratio of 0.1 a square of 17,000 x 17,000
    with pytest.raises(Bundle3DError, match=r"a ratio of 0.1 takes 17,000; raise the ratio"):
        frame_object(whole[..., None].expand(-1, -1, 3), whole, size=SIZE, ratio=0.1)
