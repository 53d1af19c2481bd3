"""Filling of the texels between the charts of a texture."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..errors import Bundle3DError


def pad_texture(texture: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Continue a texture (H, W, C), float or uint8, from the texels in ``mask`` (H, W) into all others.

    Push-pull: empty texels take the mean of the covered ones around them at the finest scale that has any, so bilinear
    lookups and mip levels do not bleed background into charts. Texels in the mask stay bit for bit. A texture without
    any covered texel comes back unchanged. Raises Bundle3DError when the sizes differ.
    """
    if texture.ndim != 3 or mask.shape != texture.shape[:2]:
        raise Bundle3DError(
            f"Expected a texture (H, W, C) and a mask (H, W), but got {tuple(texture.shape)} and {tuple(mask.shape)}; "
            "use the mask of the same texel map."
        )
    if not bool(mask.any()):
        return texture.clone()
    weight = mask.to(torch.float32)[None, None]
    color = texture.permute(2, 0, 1).to(torch.float32)[None] * weight
    filled = _fill(color, weight)[0].permute(1, 2, 0)
    if not texture.is_floating_point():
        filled = filled.round().clamp(0, 255)
    return torch.where(mask[..., None], texture, filled.to(texture.dtype))


def _fill(color: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Fill where ``weight`` (1, 1, H, W) is zero; ``color`` (1, C, H, W) is zero there."""
    height, width = weight.shape[-2:]
    if bool((weight > 0).all()) or height * width == 1:
        return color
    half_weight = functional.avg_pool2d(weight, 2, ceil_mode=True, count_include_pad=False)
    half_color = functional.avg_pool2d(color, 2, ceil_mode=True, count_include_pad=False)
    covered = half_weight > 0
    half = _fill(half_color / half_weight.clamp(min=1e-12) * covered, covered.to(color.dtype))
    coarse = functional.interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(weight > 0, color, coarse)
