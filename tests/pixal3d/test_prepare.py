"""Pictures cropped and put on black, against the numbers of section 2.1."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.prepare import crop_on_black, is_on_black, not_black, on_black


def box(height: int, width: int, top: int, bottom: int, left: int, right: int) -> tuple[torch.Tensor, torch.Tensor]:
    """White everywhere, with a mask of the given rows and columns, ends excluded."""
    alpha = torch.zeros(height, width)
    alpha[top:bottom, left:right] = 1.0
    return torch.ones(height, width, 3), alpha


def test_the_square_is_a_tenth_larger_than_the_object_and_around_it() -> None:
    found = crop_on_black(*box(200, 300, 50, 151, 80, 121))
    # Rows 50 to 150 measure 100, so that the square has 110; its middle is row 100, column 100.
    assert found.shape == (110, 110, 3)
    rows, columns = found[..., 0].nonzero(as_tuple=True)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (5, 105, 35, 75)


def test_the_square_may_overhang_the_photo() -> None:
    found = crop_on_black(*box(60, 60, 0, 60, 0, 20))
    assert found.shape == (64, 64, 3) and float(found[:, :20].sum()) == 0
    assert float(found.sum()) == 3 * 60 * 20


def test_large_photos_are_shrunk_and_small_ones_stay() -> None:
    assert crop_on_black(*box(2048, 1024, 0, 2048, 0, 1024)).shape[0] == int(1.1 * 1023) // 2 * 2
    assert crop_on_black(*box(40, 40, 10, 31, 10, 31)).shape[0] == 22


def test_faint_pixels_do_not_widen_the_square_but_stay() -> None:
    rgb, alpha = box(100, 100, 40, 61, 40, 61)
    alpha[40:61, 30:40] = 0.8
    found = crop_on_black(rgb, alpha)
    assert found.shape == (22, 22, 3)
    assert float(found[5, 0, 0]) == pytest.approx(0.8) and float(found[5, 1, 0]) == 1.0


def test_colours_are_cut_to_whole_levels() -> None:
    rgb, alpha = torch.full((4, 4, 3), 200 / 255), torch.full((4, 4), 100 / 255)
    assert float(on_black(rgb, alpha)[0, 0, 0]) == pytest.approx(78 / 255)  # 200 * 100 / 255 is 78.4
    rgb, alpha = torch.full((4, 4, 3), 254 / 255), torch.full((4, 4), 200 / 255)
    assert float(on_black(rgb, alpha)[0, 0, 0]) == pytest.approx(199 / 255)  # 199.2


def test_the_noise_of_compressed_files_counts_as_black() -> None:
    picture = torch.zeros(2, 3, 3)
    picture[0, 0], picture[0, 2, 2], picture[1, 1, 1] = 9 / 255, 20 / 255, 1.0
    assert not_black(picture).tolist() == [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def test_black_parts_of_an_object_are_its_own_and_other_backgrounds_are_refused() -> None:
    picture = torch.zeros(20, 20, 3)
    picture[4:16, 4:16] = 0.6
    picture[8:11, 8:11] = 0.0
    mask = torch.zeros(20, 20)
    mask[4:16, 4:16] = 1.0
    assert torch.equal(not_black(picture), mask)
    assert is_on_black(picture) and not is_on_black(1.0 - picture)
    with pytest.raises(Bundle3DError, match="border is not black"):
        not_black(1.0 - picture)


def test_photos_without_an_object_are_refused() -> None:
    rgb, alpha = box(20, 20, 5, 5, 5, 5)
    for mask, said in ((alpha, "mask is empty"), (alpha + 0.5, "mask is empty"), (alpha[:5], "same size")):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            crop_on_black(rgb, mask)
        assert "\n" not in str(refusal.value)
    with pytest.raises(Bundle3DError, match="mask has one"):
        crop_on_black(*box(20, 20, 5, 6, 5, 6))
