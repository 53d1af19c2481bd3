"""A photo as the front tile of a bundle. Source: specs/kiss3dgen.md section 3.6 (the paper's image to 3D)."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..errors import Bundle3DError
from ..views.finite import require_finite
from ..views.masks import border_colors, mask_box, white_behind

FILTER = 4  # pixels around what is resized that count, too


def front_photo(photo: torch.Tensor, mask: torch.Tensor, goal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The object of ``photo`` (H, W, 3) on white, as large as ``goal`` (S, S) and in its place, and its mask there.

    Both are in [0, 1], (S, S, 3) and (S, S). ``mask`` (H, W) tells how much of the photo's pixels is the object, whose
    rim is mixed with the colour of the photo's border; ``goal`` where the tile shows it. Their boxes are brought to one
    diagonal and one centre, the latter to whole pixels. Raises Bundle3DError where a mask is empty or of another size,
    and for pixels that are no numbers.
    """
    if mask.shape != photo.shape[:2]:
        raise Bundle3DError(
            f"Expected a mask of the photo's size {tuple(photo.shape[:2])}, but got {tuple(mask.shape)}; connect both "
            "outputs of Prepare Photo."
        )
    require_finite(photo, mask)
    own, wanted = _box(mask), _box(goal)
    scale = float((wanted[1] - wanted[0]).norm() / (own[1] - own[0]).norm())
    background = border_colors(photo[None].float())[0]
    photo, mask, own = _surroundings(photo, mask, own, len(goal) / scale)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    on_white = white_behind(photo.float(), mask, background)
    planes = torch.cat((on_white, mask[..., None]), dim=-1).permute(2, 0, 1)[None]
    small = functional.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)[0].clamp(0.0, 1.0)
    factor = torch.tensor((height, width)) / torch.tensor(mask.shape)
    top, left = ((wanted.mean(0) - own.mean(0) * factor).round().long()).tolist()
    size = len(goal)
    tile = torch.tensor((1.0, 1.0, 1.0, 0.0), device=photo.device)[:, None, None].repeat(1, size, size)
    rows, columns = (slice(max(0, start), min(size, start + side)) for start, side in ((top, height), (left, width)))
    part = small[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    tile[:, rows, columns] = part
    return tile[:3].permute(1, 2, 0), tile[3]


def _surroundings(
    photo: torch.Tensor, mask: torch.Tensor, box: torch.Tensor, reach: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Photo, mask and ``box`` without what lies more than ``reach`` pixels from the middle of the box.

    A small object in a large photo would be enlarged with all of the photo.
    """
    middle = box.mean(0)
    low = (middle - reach - FILTER).floor().long().clamp(min=0)
    high = torch.minimum((middle + reach + FILTER).ceil().long(), torch.tensor(mask.shape))
    rows, columns = (slice(*ends) for ends in zip(low.tolist(), high.tolist()))
    return photo[rows, columns], mask[rows, columns], box - low


def _box(mask: torch.Tensor) -> torch.Tensor:
    """(2, 2): first and last row and column of what a mask shows, the last ones exclusive."""
    left, top, right, bottom = mask_box(mask > 0.5)
    return torch.tensor(((top, left), (bottom, right)), dtype=torch.float32)
