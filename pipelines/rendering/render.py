"""Attributes and coverage in one call: what an optimiser of surfaces renders at every step."""

from __future__ import annotations

import torch

from .antialias import antialias
from .interpolate import interpolate
from .rasterise import rasterise


def render_attributes(
    attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, backend: str = "auto"
) -> torch.Tensor:
    """(V, H, W, C + 1): ``attributes`` (N, C) or (V, N, C) on black, then coverage, with antialiased silhouettes.

    Differentiable in the attributes and in ``clip`` (V, N, 4).
    """
    fragments = rasterise(clip, faces, height, width, backend)
    image = interpolate(attributes, clip, faces, fragments)
    image = torch.cat((image, fragments.mask[..., None].to(image)), dim=-1)
    return antialias(image, clip, faces, fragments, backend)
