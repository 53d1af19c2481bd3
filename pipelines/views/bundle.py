"""The bundle image: the views of a rig as a grid of square tiles, RGB over normals over, where there, coordinates.

Source: specs/kiss3dgen.md sections 1.1 to 1.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..progress import Progress, silent
from .finite import require_finite
from .masks import soften_mask, unmix_white
from .normals import decode_normals, encode_normals, mask_from_normals
from .rig import Rig, named_rig
from .view_set import ViewSet

COLUMNS = range(4, 9)
ROWS = (2, 3)
TILE_SIZES = range(8, 4097)
COORD_ROW = 2
WHITE = 0.9  # the least of a colour that still counts as background


@dataclass(frozen=True)
class BundleLayout:
    """``rows`` (RGB, normals and, with three rows, world coordinates) of ``columns`` views, ``tile`` pixels square."""

    rows: int
    columns: int
    tile: int

    @classmethod
    def of(cls, height: int, width: int, columns: int = 4) -> BundleLayout:
        """The layout of an image of that size with that many views. Raises Bundle3DError where none fits."""
        if columns not in COLUMNS:
            raise Bundle3DError(
                f"A bundle has {COLUMNS[0]} to {COLUMNS[-1]} columns, but the rig has {columns} cameras; "
                "choose another rig."
            )
        tile = width // columns
        rows = height // tile if tile else 0
        if (rows * tile, columns * tile) != (height, width) or rows not in ROWS:
            raise Bundle3DError(
                f"Expected a bundle of 2 or 3 rows by {columns} columns of square tiles, such as {columns * 512}x1024, "
                f"but got an image of {width}x{height}; resize it, or choose a rig with another number of views."
            )
        if tile not in TILE_SIZES:
            raise Bundle3DError(
                f"Expected tiles of {TILE_SIZES[0]} to {TILE_SIZES[-1]} pixels, but an image of {width}x{height} has "
                f"tiles of {tile}; resize it."
            )
        return cls(rows, columns, tile)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.rows * self.tile, self.columns * self.tile

    def split(self, image: torch.Tensor) -> torch.Tensor:
        """Tiles (rows, columns, tile, tile, C) of an image (H, W, C)."""
        grid = image.reshape(self.rows, self.tile, self.columns, self.tile, image.shape[-1])
        return grid.transpose(1, 2)

    def join(self, tiles: torch.Tensor) -> torch.Tensor:
        """The image (H, W, C) of tiles (rows, columns, tile, tile, C)."""
        return tiles.transpose(1, 2).reshape(*self.size, tiles.shape[-1])


def find_layout(image: torch.Tensor) -> BundleLayout | None:
    """The layout of an image (H, W, 3) that looks like a bundle: square tiles with white corners. None for others.

    Where several fit, the one with the largest tiles.
    """
    for columns in COLUMNS:
        try:
            layout = BundleLayout.of(image.shape[0], image.shape[1], columns)
        except Bundle3DError:
            continue
        tiles = layout.split(image)
        if bool((tiles[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] > WHITE).all()):
            return layout
    return None


def decode_normal_tiles(
    colors: torch.Tensor, rgb: torch.Tensor, rig: Rig, soft: bool = True, progress: Progress = silent
) -> tuple[torch.Tensor, torch.Tensor]:
    """World normals (V, H, W, 3) and coverage (V, H, W) of encoded ``colors`` (V, H, W, 3) that lie on white.

    The mask comes from the length of the normals (spec 1.4). With ``soft`` it holds, at the rim of an antialiased
    image, the share of each pixel that the object covers, which ``rgb`` (V, H, W, 3) helps to tell, and normals are
    decoded free of the white that was mixed in; a hard-edged image keeps its mask of 0 and 1 either way. Normals are
    zero where the mask is. One view is worked on at a time. Raises Bundle3DError where the sizes differ.
    """
    if colors.shape != rgb.shape:
        raise Bundle3DError(
            f"Expected RGB and normal images of one size, but got {tuple(rgb.shape)} and {tuple(colors.shape)}; give "
            "every view the same size."
        )
    normal, mask = colors.new_empty(colors.shape), colors.new_empty(colors.shape[:3])
    for index, camera in enumerate(rig):
        view = slice(index, index + 1)
        covered = mask_from_normals(colors[view])
        if soft:
            covered = soften_mask(covered, rgb[view], colors[view])
        decoded = decode_normals(unmix_white(colors[view], covered), Rig((camera,)))
        normal[view], mask[view] = decoded * (covered > 0.0)[..., None], covered
        progress(index + 1, len(rig))
    return normal, mask


def split_bundle(
    image: torch.Tensor, rig: Rig | None = None, soft: bool = True, progress: Progress = silent
) -> ViewSet:
    """The views in a bundle ``image`` (H, W, 3) in [0, 1] that was seen by ``rig`` (absent: kiss3dgen).

    Normals and masks are those of ``decode_normal_tiles``. Coordinates are decoded from (p + 1) / 2.

    Raises Bundle3DError for other sizes and for values that are not finite.
    """
    if image.ndim != 3 or image.shape[-1] != 3:
        raise Bundle3DError(f"Expected one RGB image of shape (H, W, 3), but got {tuple(image.shape)}; pick one image.")
    rig = rig or named_rig("kiss3dgen")
    layout = BundleLayout.of(image.shape[0], image.shape[1], len(rig))
    require_finite(image)
    tiles = layout.split(image.float().clamp(0.0, 1.0))
    rgb = tiles[0].contiguous()
    normal, mask = decode_normal_tiles(tiles[1], rgb, rig, soft, progress)
    coord = None
    if layout.rows > COORD_ROW:
        coord = (2.0 * unmix_white(tiles[COORD_ROW], mask) - 1.0) * (mask > 0.0)[..., None]
    return ViewSet(rgb, normal, mask, rig, coord)


def join_bundle(views: ViewSet) -> torch.Tensor:
    """The bundle image (H, W, 3) in [0, 1] of ``views``, on white; with a third row where coordinates are known.

    Raises Bundle3DError for views that are not square or not 4 to 8, and for unknown normals.
    """
    views.require_normals()
    height, width = views.size
    rows = ROWS[0] if views.coord is None else ROWS[1]
    layout = BundleLayout.of(rows * height, len(views.rig) * width, len(views.rig))
    mask = views.mask[..., None]
    encoded = [encode_normals(views.normal, views.rig)]
    if views.coord is not None:
        encoded.append((views.coord + 1.0) / 2.0)
    tiles = [views.rgb] + [colors * mask + (1.0 - mask) for colors in encoded]
    return layout.join(torch.stack(tiles)).clamp(0.0, 1.0)
