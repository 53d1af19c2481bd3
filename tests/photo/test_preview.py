"""The preview against a photo whose object and square are known."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.photo.frame import frame_object
from bundle3d.pipelines.photo.preview import LINE, SIDE, show_cut

from .image_files import OBJECT, mask, scene, values


@pytest.mark.parametrize("shape", [(60, 120), (120, 60), (100, 100)])
@pytest.mark.parametrize("ratio", [0.3, 0.85, 1.0])
def test_the_object_is_bright_and_the_square_is_around_it(shape: tuple[int, int], ratio: float) -> None:
    boxes = ((10, 10, 40, 50), (50, 50, 56, 56))
    photo, alpha = values(scene(boxes, shape)), values(mask(boxes, shape))
    framed = frame_object(photo, alpha, ratio=ratio)
    picture = show_cut(photo, framed)
    assert picture.shape == (SIDE, SIDE, 3) and float(picture.min()) >= 0 and float(picture.max()) <= 1
    rows, columns = ((picture - LINE).abs().max(dim=-1).values < 1e-3).nonzero().unbind(1)
    x, y, side = framed.square
    span = max(max(shape[1], x + side) - min(0, x), max(shape[0], y + side) - min(0, y))
    scale = SIDE / span
    assert float(rows.max() - rows.min()) == pytest.approx(side * scale, abs=2)
    assert float(columns.max() - columns.min()) == pytest.approx(side * scale, abs=2)
    middle = picture[int(rows.float().mean()), int(columns.float().mean())]
    assert torch.allclose(middle, torch.tensor(OBJECT) / 255, atol=0.02), "the kept object keeps its colour"
    red = (picture - torch.tensor(OBJECT) / 255).abs().max(dim=-1).values < 0.05
    assert int(red.sum()) == pytest.approx(30 * 40 * scale**2, rel=0.1), "and the other one does not"
