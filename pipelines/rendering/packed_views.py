"""What both twins of the projection of views need to know about the views."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..views.camera import Camera
from .view_confidence import ViewMaps


@dataclass(frozen=True)
class PackedViews:
    """``cameras`` (V, 14) float64 of ``pack_camera``; ``maps`` of the images; ``weights`` (V,) float64 of the views.

    A view at a cosine above ``least_cosine`` counts by the cosine to the ``power``; ``bias`` is how far, in world
    units, a point may lie behind what a view shows; ``tint_confidence`` is the factor behind an occluder.
    """

    cameras: torch.Tensor
    maps: ViewMaps
    weights: torch.Tensor
    power: float
    least_cosine: float
    bias: float
    tint_confidence: float


def pack_camera(camera: Camera) -> torch.Tensor:
    """(14,) float64: rows of the rotation, position, scale, and 1 for perspective or 0 for orthographic."""
    ends = torch.tensor((camera.scale, 1.0 if camera.is_perspective else 0.0), dtype=torch.float64)
    return torch.cat((camera.rotation().reshape(-1), camera.eye(), ends))
