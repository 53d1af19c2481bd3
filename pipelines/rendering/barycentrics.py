"""Perspective-correct barycentrics of covered pixels, differentiable in the clip coordinates."""

from __future__ import annotations

import torch

SLIVER = 0.02  # pixels; a triangle of less than this double area passes on a proportionally smaller gradient


def pixel_centres(pixel: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """NDC x and y (P,) float64 of pixels given by their flat index into (V, H, W)."""
    x = (pixel % width + 0.5).double() * (2.0 / width) - 1.0
    y = 1.0 - (torch.div(pixel, width, rounding_mode="floor") % height + 0.5).double() * (2.0 / height)
    return x, y


def covered_barycentrics(
    clip: torch.Tensor, faces: torch.Tensor, face: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Covered pixels (P,) as flat indices of ``face`` (V, H, W), their corners (P, 3) as flat indices into (V * N), and
    barycentrics (P, 3) float64, clamped to the triangle.

    With X = x - px w and Y = y - py w of each corner, the barycentrics are the three cross products of the other two
    (X, Y) over their sum. They are computed in float64, for the cross products of small triangles cancel.
    """
    height, width = face.shape[1:]
    flat = face.reshape(-1)
    pixel = (flat >= 0).nonzero().squeeze(1)
    view = torch.div(pixel, height * width, rounding_mode="floor")
    corner = faces.index_select(0, flat[pixel].long()) + (view * clip.shape[1])[:, None]
    points = clip.reshape(-1, 4).index_select(0, corner.reshape(-1)).reshape(-1, 3, 4).double()
    px, py = pixel_centres(pixel, height, width)
    w = points[..., 3]
    x, y = points[..., 0] - px[:, None] * w, points[..., 1] - py[:, None] * w
    cross = torch.stack(
        (
            x[:, 1] * y[:, 2] - x[:, 2] * y[:, 1],
            x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2],
            x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0],
        ),
        dim=1,
    )
    total = cross.sum(-1, keepdim=True)
    raw = cross / torch.where(total == 0, 1.0, total)
    if raw.requires_grad:
        with torch.no_grad():
            area = total.abs() * (height * width / 4) / (w.mean(-1, keepdim=True) ** 2 * SLIVER)
        raw = raw.detach() + (raw - raw.detach()) * area.clamp(max=1.0)
    inner = raw.clamp(0.0, 1.0)
    return pixel, corner, inner / inner.sum(-1, keepdim=True).clamp(min=1e-12)
