from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview.view_grid import are_grids, named_grid, plain_grid
from bundle3d.pipelines.views.rig import named_rig, orbit


def labelled(rows: int, columns: int, tile: int, values: list[float]) -> torch.Tensor:
    """A picture whose tiles, row by row, have these values."""
    tiles = torch.tensor(values).reshape(rows, columns)
    return tiles.repeat_interleave(tile, 0).repeat_interleave(tile, 1)[..., None].expand(-1, -1, 3)


def test_flexgen_draws_the_front_last() -> None:
    # specs/kiss3dgen.md 3.2: the quadrants, row by row, are at azimuth 90, 180, 270, 0
    grid = named_grid("flexgen")
    views = grid.split(labelled(2, 2, 4, [90.0, 180.0, 270.0, 0.0]))
    assert views.shape == (4, 4, 4, 3)
    assert [float(view[0, 0, 0]) for view in views] == [camera.azimuth for camera in grid.rig]
    assert {camera.elevation for camera in grid.rig} == {5.0}


def test_zero123plus_draws_six_views_in_three_rows() -> None:
    grid = named_grid("zero123plus")
    azimuths = [30.0, 90.0, 150.0, 210.0, 270.0, 330.0]
    views = grid.split(labelled(3, 2, 2, azimuths))
    assert [float(view[0, 0, 0]) for view in views] == [camera.azimuth for camera in grid.rig] == azimuths
    assert [camera.elevation for camera in grid.rig] == [20, -10] * 3
    assert grid.size(320) == (960, 640)


@pytest.mark.parametrize("name", ["flexgen", "zero123plus"])
def test_join_is_the_inverse_of_split(name: str) -> None:
    grid = named_grid(name)
    picture = torch.rand(*grid.size(5), 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(grid.join(grid.split(picture)), picture)


@pytest.mark.parametrize(
    ("views", "height", "width", "layout"),
    [
        (4, 8, 8, (2, 2)),
        (4, 8, 32, (1, 4)),
        (4, 32, 8, (4, 1)),
        (6, 9, 6, (3, 2)),
        (6, 6, 9, (2, 3)),
        (6, 3, 18, (1, 6)),
    ],
)
def test_a_plain_grid_is_told_by_its_shape(views: int, height: int, width: int, layout: tuple[int, int]) -> None:
    grid = plain_grid(orbit(views), height, width)
    assert (grid.rows, grid.columns) == layout
    order = grid.split(labelled(*layout, height // layout[0], [float(i) for i in range(views)]))[:, 0, 0, 0]
    assert order.tolist() == list(range(views))


def spot(height: int, width: int, places: list[tuple[int, int]], background: float = 1.0) -> torch.Tensor:
    """A picture with black squares of 6 pixels around the places."""
    picture = torch.full((height, width, 3), background)
    for row, column in places:
        picture[row - 3 : row + 3, column - 3 : column + 3] = 0.0
    return picture


@pytest.mark.parametrize("background", [1.0, 0.5])
def test_a_grid_is_told_from_a_view_by_its_shape_and_its_empty_middle(background: float) -> None:
    one = spot(16, 16, [(8, 8)], background)
    four = spot(16, 16, [(4, 4), (4, 12), (12, 4), (12, 12)], background)
    assert are_grids(four[None], 4) and are_grids(four[None].expand(4, -1, -1, -1), 4)
    assert not are_grids(one[None], 4) and not are_grids(torch.stack([four, one]), 4)
    off = spot(16, 16, [(4, 8)], background)  # on one of the two middle lines
    assert not are_grids(off[None], 4)
    assert not are_grids(four[None], 6) and are_grids(torch.zeros(2, 24, 16, 3), 6)
    assert are_grids(torch.zeros(1, 8, 32, 3), 4) and not are_grids(torch.zeros(1, 12, 16, 3), 4)


def test_refusals() -> None:
    with pytest.raises(Bundle3DError, match="3 x 2 square views"):
        named_grid("zero123plus").split(torch.zeros(8, 8, 3))
    with pytest.raises(Bundle3DError, match="4 square views"):
        plain_grid(named_rig("lrm"), 9, 6)
    with pytest.raises(Bundle3DError, match="flexgen, zero123plus"):
        named_grid("spiral")
