from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.multiview.view_grid import named_grid, plain_grid
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


def test_refusals() -> None:
    with pytest.raises(Bundle3DError, match="3 x 2 square views"):
        named_grid("zero123plus").split(torch.zeros(8, 8, 3))
    with pytest.raises(Bundle3DError, match="4 square views"):
        plain_grid(named_rig("lrm"), 9, 6)
    with pytest.raises(Bundle3DError, match="flexgen, zero123plus"):
        named_grid("spiral")
