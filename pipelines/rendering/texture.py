"""Bilinear texture lookup."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError


def sample_texture(texture: torch.Tensor, uv: torch.Tensor, repeat: bool = True) -> torch.Tensor:
    """Values (..., C) of ``texture`` (H, W, C), floating point, at ``uv`` (..., 2).

    Row 0 is v = 0 and texel centres lie at half-integers. Outside [0, 1] the texture repeats or continues its border.
    Differentiable in the texture and in ``uv``. Raises Bundle3DError for other shapes or an integer texture.
    """
    if texture.ndim != 3 or texture.numel() == 0 or not texture.is_floating_point():
        raise Bundle3DError(
            f"Expected a floating-point texture (H, W, C), but got {texture.dtype} {tuple(texture.shape)}; "
            "divide 8-bit textures by 255."
        )
    if uv.shape[-1] != 2:
        raise Bundle3DError(f"Expected texture coordinates (..., 2), but got {tuple(uv.shape)}; unwrap the mesh first.")
    height, width, channels = texture.shape
    points = uv.reshape(-1, 2).nan_to_num(0.0, 0.0, 0.0)
    points = points - points.detach().floor() if repeat else points.clamp(0.0, 1.0)
    values = bilinear(texture, points * points.new_tensor((width, height)), repeat)
    return values.reshape(*uv.shape[:-1], channels)


def bilinear(image: torch.Tensor, pixel: torch.Tensor, repeat: bool = False) -> torch.Tensor:
    """Values (P, C) of ``image`` (H, W, C) at ``pixel`` (P, 2), finite and near the image; centres at half-integers."""
    height, width, channels = image.shape
    place = pixel - 0.5
    first = place.detach().floor()
    fraction = (place - first).to(image.dtype)
    columns, rows = _neighbours(first[:, 0], width, repeat), _neighbours(first[:, 1], height, repeat)
    texels = image.reshape(-1, channels)
    tops, bottoms = (
        torch.lerp(
            texels.index_select(0, row * width + columns[0]),
            texels.index_select(0, row * width + columns[1]),
            fraction[:, :1],
        )
        for row in rows
    )
    return torch.lerp(tops, bottoms, fraction[:, 1:])


def _neighbours(first: torch.Tensor, size: int, repeat: bool) -> tuple[torch.Tensor, torch.Tensor]:
    before = first.long()
    if repeat:
        return before % size, (before + 1) % size
    return before.clamp(0, size - 1), (before + 1).clamp(0, size - 1)
