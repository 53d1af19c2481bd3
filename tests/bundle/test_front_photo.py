"""A photo in the place of a tile."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.bundle.front_photo import front_photo
from bundle3d.pipelines.errors import Bundle3DError


def disc(size: int, centre: tuple[float, float], radius: float) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    distance = ((row - centre[0]) ** 2 + (column - centre[1]) ** 2).sqrt()
    return (radius + 0.5 - distance).clamp(0.0, 1.0)


@pytest.mark.parametrize(("radius", "centre"), [(20.0, (40.0, 28.0)), (70.0, (128.0, 120.0)), (9.0, (200.0, 30.0))])
def test_the_object_gets_size_and_place_of_the_goal(radius: float, centre: tuple[float, float]) -> None:
    mask, goal = disc(256, centre, radius), disc(128, (60.0, 70.0), 33.0)
    photo = torch.zeros(256, 256, 3) + torch.tensor((0.2, 0.6, 0.3))
    before = photo.clone()
    tile, covered = front_photo(photo, mask, goal)
    for shown in ((tile[..., 0] < 0.6).float(), (covered > 0.5).float()):
        common, either = (shown * (goal > 0.5)).sum(), torch.maximum(shown, (goal > 0.5).float()).sum()
        assert tile.shape == (128, 128, 3) and float(common / either) > 0.93
    assert torch.allclose(tile[60, 70], photo[0, 0], atol=0.01) and torch.equal(photo, before)
    assert float(tile[:20].min()) > 0.98


@pytest.mark.parametrize("background", [1.0, 127 / 255, 0.0])
def test_the_rim_is_mixed_with_white_once(background: float) -> None:
    mask = disc(64, (30.0, 34.0), 20.0)
    share, color = mask[..., None], torch.tensor((0.2, 0.6, 0.3))
    tile, covered = front_photo(share * color + (1.0 - share) * background, mask, mask)
    torch.testing.assert_close(tile, share * color + 1.0 - share, atol=1e-5, rtol=0)
    torch.testing.assert_close(covered, mask)


def test_what_leaves_the_tile_is_cut() -> None:
    tile, _ = front_photo(torch.zeros(64, 64, 3), torch.ones(64, 64), disc(32, (3.0, 30.0), 8.0))
    assert tile.shape == (32, 32, 3) and float(tile[0, -1].max()) == 0.0 and float(tile[-1, 0].min()) == 1.0


def test_empty_and_unequal_masks_are_refused() -> None:
    photo, goal = torch.zeros(16, 16, 3), torch.ones(8, 8)
    with pytest.raises(Bundle3DError, match="empty"):
        front_photo(photo, torch.zeros(16, 16), goal)
    with pytest.raises(Bundle3DError, match="Prepare Photo"):
        front_photo(photo, torch.ones(8, 8), goal)


def test_a_small_object_in_a_large_photo_is_enlarged_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, interpolate = [], torch.nn.functional.interpolate
    monkeypatch.setattr(
        torch.nn.functional, "interpolate", lambda *a, **k: sizes.append(k["size"]) or interpolate(*a, **k)
    )
    mask, goal = torch.zeros(2000, 3000), disc(128, (60.0, 70.0), 50.0)
    mask[1500:1512, 2000:2012] = 1.0  # whole, the photo would have some 10,000 x 16,000 pixels at this scale
    photo = torch.full((2000, 3000, 3), 0.5)
    photo[1500:1512, 2000:2012] = torch.tensor((0.2, 0.6, 0.3))
    tile, covered = front_photo(photo, mask, goal)
    assert max(sizes[0]) < 400, "of a tile of 128"
    torch.testing.assert_close(tile[60, 70], torch.tensor((0.2, 0.6, 0.3)), atol=0.02, rtol=0)
    rows, columns = (covered > 0.5).nonzero().unbind(1)
    assert abs(float(rows.float().mean()) - 60.0) < 1.5 and abs(float(columns.float().mean()) - 70.0) < 1.5


def test_pixels_that_are_no_numbers_are_refused() -> None:
    mask = disc(64, (30.0, 34.0), 20.0)
    with pytest.raises(Bundle3DError, match="finite"):
        front_photo(torch.full((64, 64, 3), float("nan")), mask, mask)
