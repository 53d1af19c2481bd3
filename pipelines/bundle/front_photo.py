"""A photo as the front tile of a bundle. Source: specs/kiss3dgen.md section 3.6 (the paper's image to 3D)."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..errors import Bundle3DError
from ..views.masks import mask_box


def front_photo(photo: torch.Tensor, mask: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """The object of ``photo`` (H, W, 3) on white, as large as ``goal`` (S, S) and in its place; (S, S, 3) in [0, 1].

    ``mask`` (H, W) tells where the photo shows the object, ``goal`` where the tile does. Their boxes are brought to one
    diagonal and one centre, the latter to whole pixels. Raises Bundle3DError where a mask is empty or of another size.
    """
    if mask.shape != photo.shape[:2]:
        raise Bundle3DError(
            f"Expected a mask of the photo's size {tuple(photo.shape[:2])}, but got {tuple(mask.shape)}; connect both "
            "outputs of Prepare Photo."
        )
    own, wanted = _box(mask), _box(goal)
    scale = float((wanted[1] - wanted[0]).norm() / (own[1] - own[0]).norm())
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    on_white = photo.float() * mask[..., None] + 1.0 - mask[..., None]
    planes = on_white.permute(2, 0, 1)[None]
    small = functional.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)[0].clamp(0.0, 1.0)
    factor = torch.tensor((height, width)) / torch.tensor(mask.shape)
    top, left = ((wanted.mean(0) - own.mean(0) * factor).round().long()).tolist()
    size = len(goal)
    tile = torch.ones(3, size, size, device=photo.device)
    rows, columns = (slice(max(0, start), min(size, start + side)) for start, side in ((top, height), (left, width)))
    part = small[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    tile[:, rows, columns] = part
    return tile.permute(1, 2, 0)


def _box(mask: torch.Tensor) -> torch.Tensor:
    """(2, 2): first and last row and column of what a mask shows, the last ones exclusive."""
    solid = mask > 0.5
    if not bool(solid.any()):
        raise Bundle3DError("Expected an object in the mask, but it is empty; cut the object out of the photo first.")
    left, top, right, bottom = mask_box(solid)
    return torch.tensor(((top, left), (bottom, right)), dtype=torch.float32)
