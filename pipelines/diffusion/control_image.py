"""What ControlNets of the several modes see. Source: specs/kiss3dgen.md 3.6."""

from __future__ import annotations

import torch
from torch.nn import functional

from .canny import canny
from .models import UNION_MODES

MODES = (*UNION_MODES, "normal")  # what is published has no mode for normals; networks of Bundle3D's training have
BLUR_KERNEL, BLUR_SIGMA = 51, 2.0  # pixels


def control_image(
    image: torch.Tensor, mode: str, height: int, width: int, down_scale: float = 1.0, make_map: bool = False
) -> torch.Tensor:
    """The (height, width, 3) picture that a ControlNet of ``mode`` sees for an (H, W, 3) picture in [0, 1].

    tile and lq are coarsened ``down_scale`` times and rounded to 8 bit; blur is a Gaussian blur of 51 pixels with sigma
    2; edges, depths, normals and whatever else is a map already are taken as they come. With ``make_map`` the picture
    is a bundle: canny finds its edges, and normal takes its row of normals for both rows. Another size is resized.
    """
    picture = resized(image, height, width)
    if make_map and mode == "canny":
        return canny(picture)
    if make_map and mode == "normal":
        return resized(picture[height // 2 :].repeat(2, 1, 1), height, width)
    pixels = picture.movedim(-1, 0)[None]
    if mode in ("tile", "lq"):
        coarse = (max(1, round(height / down_scale)), max(1, round(width / down_scale)))
        pixels = functional.interpolate(
            functional.interpolate(pixels, size=coarse, mode="bilinear"), (height, width), mode="bilinear"
        )
        pixels = (pixels * 255).round() / 255
    if mode == "blur":
        pixels = _blurred(pixels)
    return pixels[0].movedim(0, -1)


def resized(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """An (H, W, 3) picture as (height, width, 3) float32 in [0, 1]."""
    pixels = image.float().movedim(-1, 0)[None]
    if pixels.shape[-2:] != (height, width):
        pixels = functional.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True)
    return pixels[0].movedim(0, -1).clamp(0, 1)


def _blurred(pixels: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of (1, C, H, W), reflected at the border."""
    for size, shape in ((pixels.shape[-2], (-1, 1)), (pixels.shape[-1], (1, -1))):
        radius = min(BLUR_KERNEL // 2, size - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
        weights = torch.softmax(-(offsets**2) / (2 * BLUR_SIGMA**2), dim=0).reshape(1, 1, *shape)
        padding = (0, 0, radius, radius) if shape == (-1, 1) else (radius, radius, 0, 0)
        channels = functional.pad(pixels, padding, mode="reflect").movedim(1, 0)
        pixels = functional.conv2d(channels, weights.to(pixels.device)).movedim(0, 1)
    return pixels
