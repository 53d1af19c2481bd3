"""What was cut out of a photo, to look at."""

from __future__ import annotations

import torch

from .frame import Framed

SIDE = 512  # pixels
REST = 0.25  # of the photo's contrast that is left of what was not kept
LINE = torch.tensor((1.0, 0.55, 0.0))
PAPER = 0.9


def show_cut(photo: torch.Tensor, framed: Framed) -> torch.Tensor:
    """(512, 512, 3): the whole photo (H, W, 3) with all but the object pale, and an orange line around the square."""
    height, width = framed.kept.shape
    x, y, side = framed.square
    left, top, right, bottom = min(0, x), min(0, y), max(width, x + side), max(height, y + side)
    extent = max(right - left, bottom - top)
    left, top = left - (extent - (right - left)) // 2, top - (extent - (bottom - top)) // 2
    share = framed.kept[..., None]
    paper = torch.full((extent, extent, 3), PAPER, dtype=photo.dtype, device=photo.device)
    paper[-top : height - top, -left : width - left] = photo * share + (1 - share) * (PAPER + REST * (photo - PAPER))
    planes = paper.permute(2, 0, 1)[None]
    planes = torch.nn.functional.interpolate(planes, size=(SIDE, SIDE), mode="bilinear", antialias=True)
    image = planes[0].permute(1, 2, 0).clamp(0, 1).contiguous()
    first_row, first_column = ((value * SIDE) // extent for value in (y - top, x - left))
    last_row, last_column = (min(SIDE - 1, (value + side) * SIDE // extent) for value in (y - top, x - left))
    line = LINE.to(image)
    for row in (first_row, last_row):
        image[row, first_column : last_column + 1] = line
    for column in (first_column, last_column):
        image[first_row : last_row + 1, column] = line
    return image
