"""Attributes of vertices at the pixels that show them."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from .barycentrics import covered_barycentrics
from .rasterise import Fragments


def check_attributes(attributes: torch.Tensor, clip: torch.Tensor) -> None:
    """Raise Bundle3DError unless attributes are (N, C) or (V, N, C) for clip coordinates (V, N, 4)."""
    views, count = clip.shape[:2]
    if attributes.ndim not in (2, 3) or attributes.shape[-2] != count or attributes.shape[:-2] not in ((), (views,)):
        raise Bundle3DError(
            f"Expected attributes of shape ({count}, C) or ({views}, {count}, C), but got {tuple(attributes.shape)}; "
            "give one row per vertex."
        )


def interpolate(
    attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, fragments: Fragments
) -> torch.Tensor:
    """Perspective-correct attributes (V, H, W, C) of ``attributes`` (N, C) or (V, N, C), zero where empty.

    Differentiable in the attributes and in ``clip`` (V, N, 4), for the pixels' given faces.
    """
    check_attributes(attributes, clip)
    pixel, corner, weights = covered_barycentrics(clip, faces.long(), fragments.face)
    if attributes.ndim == 2:
        corner = corner % clip.shape[1]
    channels = attributes.shape[-1]
    values = attributes.reshape(-1, channels).index_select(0, corner.reshape(-1)).reshape(-1, 3, channels)
    blended = (values * weights.to(values)[..., None]).sum(1)
    image = blended.new_zeros(fragments.face.numel(), channels).index_copy(0, pixel, blended)
    return image.reshape(*fragments.face.shape, channels)
