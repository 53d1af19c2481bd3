"""How a multi-view model lays its views out in one picture. Source: specs/kiss3dgen.md 3.2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch

from ..errors import Bundle3DError
from ..views.masks import border_colors
from ..views.rig import Rig, named_rig
from .view_images import differs_from


@dataclass(frozen=True)
class ViewGrid:
    """``rows`` x ``columns`` square tiles, row by row; ``order[i]`` is the tile that the rig's camera ``i`` sees.

    ``share`` is the side of a tile as a part of the side of the picture that the model is shown.
    """

    name: str
    rig: Rig
    rows: int
    columns: int
    order: tuple[int, ...]
    share: float = 1.0

    def size(self, tile: int) -> tuple[int, int]:
        """Height and width in pixels of the picture with tiles of ``tile`` pixels."""
        return self.rows * tile, self.columns * tile

    def split(self, picture: torch.Tensor) -> torch.Tensor:
        """The views (V, tile, tile, C), in the rig's order, of a picture (H, W, C).

        Raises Bundle3DError where the picture is no grid of square tiles.
        """
        height, width, channels = picture.shape
        tile = height // self.rows
        if not tile or self.size(tile) != (height, width):
            raise Bundle3DError(
                f"Expected {self.rows} x {self.columns} square views in one picture, but got a picture of {width} x "
                f"{height}; crop it to the views, or choose another layout."
            )
        tiles = picture.reshape(self.rows, tile, self.columns, tile, channels).transpose(1, 2).flatten(0, 1)
        return tiles[list(self.order)]

    def join(self, views: torch.Tensor) -> torch.Tensor:
        """The picture (H, W, C) of views (V, tile, tile, C) in the rig's order."""
        place = [self.order.index(index) for index in range(len(self.order))]
        tile = views.shape[1]
        tiles = views[place].reshape(self.rows, self.columns, tile, tile, views.shape[-1])
        return tiles.transpose(1, 2).reshape(*self.size(tile), views.shape[-1])


def plain_grid(rig: Rig, height: int, width: int) -> ViewGrid:
    """The views of ``rig`` in its own order, row by row, in a picture of that size.

    Raises Bundle3DError where no number of rows makes the tiles square.
    """
    views = len(rig)
    shape = _grid_shape(views, height, width)
    if shape is None:
        raise Bundle3DError(
            f"Expected a picture of {views} square views, one for each camera of the rig, but got {width} x {height} "
            "pixels; choose the rig of the views, or crop the picture."
        )
    return ViewGrid("plain", rig, *shape, tuple(range(views)))


def are_grids(pictures: torch.Tensor, views: int) -> bool:
    """Whether pictures (N, H, W, 3) show ``views`` square views each, and not one.

    One view is square, and its object lies across its middle: where pictures of either kind are square, in a grid only
    background is on the lines between the tiles.
    """
    shape = _grid_shape(views, *pictures.shape[1:3])
    if shape is None or shape[0] != shape[1]:
        return shape is not None
    tile = pictures.shape[1] // shape[0]
    differs = differs_from(pictures, border_colors(pictures)[:, None, None])
    lines = [place for seam in range(tile, shape[0] * tile, tile) for place in (seam - 1, seam)]
    return not bool(differs[:, lines].any() or differs[:, :, lines].any())


def _grid_shape(views: int, height: int, width: int) -> tuple[int, int] | None:
    """Rows and columns that make so many square tiles of a picture, as near to a square of tiles as can be."""
    for rows in sorted((n for n in range(1, views + 1) if views % n == 0), key=lambda n: abs(n - sqrt(views))):
        columns = views // rows
        if height % rows == 0 and width % columns == 0 and height // rows == width // columns > 0:
            return rows, columns
    return None


def _flexgen() -> ViewGrid:
    """Left, back, right and, last, front."""
    return ViewGrid("flexgen", named_rig("lrm"), 2, 2, (3, 0, 1, 2))


def _zero123plus() -> ViewGrid:
    """Six views of 320 pixels where the model is shown 512."""
    return ViewGrid("zero123plus", named_rig("zero123plus"), 3, 2, tuple(range(6)), share=0.625)


NAMED_GRIDS: dict[str, Callable[[], ViewGrid]] = {"flexgen": _flexgen, "zero123plus": _zero123plus}


def named_grid(name: str) -> ViewGrid:
    """The grid of that name. Raises Bundle3DError for a name that is not known."""
    if name not in NAMED_GRIDS:
        raise Bundle3DError(
            f"Expected one of the layouts {', '.join(NAMED_GRIDS)}, but got {name!r}; choose one of them."
        )
    return NAMED_GRIDS[name]()
