"""The lookup of surface points in views on any device."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from .packed_views import PackedViews
from .texture import bilinear

CHUNK = 1 << 18


def project_torch(
    points: torch.Tensor, normals: torch.Tensor, views: PackedViews
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums (P, C) and (P,) and qualities (P,) at ``points`` (P, 3) with unit ``normals`` (P, 3)."""
    images = views.maps.images
    weighted = points.new_zeros(points.shape[0], images.shape[-1])
    weights, quality = points.new_zeros(points.shape[0]), points.new_zeros(points.shape[0])
    for start in range(0, points.shape[0], CHUNK):
        part = slice(start, start + CHUNK)
        for view in range(len(images)):
            cosine, sure, pixel = _trust(points[part], normals[part], views, view)
            weight = float(views.weights[view]) * cosine.pow(views.power) * sure
            weighted[part] += weight[:, None] * bilinear(images[view], pixel)
            weights[part] += weight
            quality[part] = torch.maximum(quality[part], cosine * sure * (weight > 0.0))
    return weighted, weights, quality


def _trust(
    points: torch.Tensor, normals: torch.Tensor, views: PackedViews, view: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cosine (P,) and confidence (P,), both zero where the view does not see the point, and its place (P, 2)."""
    packed, confidence = views.cameras[view], views.maps.confidence[view]
    camera, perspective = packed.to(points), bool(packed[13] > 0.5)
    rotation, eye, scale = camera[:9].reshape(3, 3), camera[9:12], camera[12]
    height, width = confidence.shape
    local = (points - eye) @ rotation.T
    along = -local[:, 2]
    if perspective:
        toward = normalize(eye - points, dim=1)
        divisor = along.clamp(min=1e-6)
    else:
        toward = rotation[2].expand_as(points)
        divisor = torch.ones_like(along)
    x = (local[:, 0] / divisor * scale * (height / width) + 1.0) * 0.5
    y = (1.0 - local[:, 1] / divisor * scale) * 0.5
    cosine = (normals * toward).sum(dim=1)
    seen = (along > 0.0) & (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0) & (cosine > views.least_cosine)
    place = torch.stack((x, y), dim=1).clamp(0.0, 1.0)
    seen &= along <= _farthest(views.maps.depth[view], place) + views.bias
    pixel = place * torch.tensor((width, height)).to(points)
    sure = bilinear(confidence[..., None], pixel)[:, 0]
    at = pixel.long()
    tinted = along > views.maps.occluder[view][at[:, 1].clamp(max=height - 1), at[:, 0].clamp(max=width - 1)]
    sure = torch.where(tinted, sure * views.tint_confidence, sure)
    none = torch.zeros_like(cosine)
    return torch.where(seen, cosine, none), torch.where(seen, sure, none), pixel


def _farthest(depth: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """(P,) the largest finite depth of the 2 x 2 samples around ``place`` (P, 2) in [0, 1]; infinite where all are."""
    height, width = depth.shape
    column = (place[:, 0] * width - 0.5).floor().long()
    row = (place[:, 1] * height - 0.5).floor().long()
    far = torch.full_like(place[:, 0], -float("inf"))
    for i in (0, 1):
        for j in (0, 1):
            value = depth[(row + i).clamp(0, height - 1), (column + j).clamp(0, width - 1)]
            far = torch.where(torch.isfinite(value), torch.maximum(far, value), far)
    return torch.where(torch.isfinite(far), far, torch.full_like(far, float("inf")))
