"""How far the silhouettes of a rig agree: where the rays of each view meet the body that all other views allow.

A pixel of a silhouette is explained if some point on its ray lies inside every other silhouette. The explained pixels
are the reprojection of the visual hull, so their share is its intersection over union with the silhouette. No grid is
built.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import adaptive_avg_pool2d, grid_sample

from .camera import Camera
from .rig import Rig
from .view_set import ViewSet

# Half the length of the part of each ray that is searched, in world units: the cube [-1, 1]^3 lies within.
REACH = 1.75
# A sample counts as inside where the bilinear mask exceeds this, about a third of a pixel outside its edge.
INSIDE = 0.2
STEPS = 192
STEPS_AT_ONCE = 16


@dataclass(frozen=True)
class HullRays:
    """Silhouettes at a working size S: ``soft`` (V, S, S) coverage, ``mask`` (V, S, S) bool, ``explained`` (V, S, S)
    bool; ``pairs`` (V, V), the share of the row's silhouette that the column's alone allows (one on the diagonal)."""

    soft: torch.Tensor
    mask: torch.Tensor
    explained: torch.Tensor
    pairs: torch.Tensor

    @property
    def iou(self) -> torch.Tensor:
        """(V,) overlap of each silhouette with the reprojected hull; zero where a mask is empty."""
        return self.explained.sum(dim=(1, 2)) / self.mask.sum(dim=(1, 2)).clamp(min=1)


@torch.no_grad()
def trace_hull(views: ViewSet, size: int = 128) -> HullRays:
    """Follow the rays of every silhouette at ``size`` pixels per view."""
    soft = adaptive_avg_pool2d(views.mask[:, None].float(), size)[:, 0]
    mask = soft > 0.5
    explained = torch.zeros_like(mask)
    pairs = torch.eye(len(views.rig), device=mask.device)
    for index, camera in enumerate(views.rig):
        if not bool(mask[index].any()):
            continue
        met, allowed = [], []
        for points in ray_points(camera, mask[index]).split(STEPS_AT_ONCE, dim=1):
            inside = in_silhouettes(soft, views.rig, points)
            inside[index] = True
            met.append(inside.all(dim=0).any(dim=1))
            allowed.append(inside.any(dim=2))
        explained[index][mask[index]] = torch.stack(met).any(dim=0)
        pairs[index] = torch.stack(allowed).any(dim=0).float().mean(dim=1)
    return HullRays(soft, mask, explained, pairs)


def ray_points(camera: Camera, chosen: torch.Tensor) -> torch.Tensor:
    """World points (P, STEPS, 3), near to far, on the rays of the ``chosen`` (S, S) bool pixels of a view."""
    origins, directions = (ray.to(chosen.device).float()[chosen] for ray in camera.rays(*chosen.shape))
    target = origins.new_tensor(camera.target)
    middle = ((target - origins) * directions).sum(-1, keepdim=True)
    offsets = (torch.arange(STEPS, device=origins.device) + 0.5) * (2.0 * REACH / STEPS) - REACH
    return origins[:, None] + directions[:, None] * (middle + offsets)[..., None]


def in_silhouettes(soft: torch.Tensor, rig: Rig, points: torch.Tensor) -> torch.Tensor:
    """(V, ...) bool: which views have ``points`` (..., 3) inside their silhouette ``soft`` (V, S, S)."""
    return torch.stack(
        [sample_view(mask[None], camera, points)[..., 0] > INSIDE for mask, camera in zip(soft, rig, strict=True)]
    )


def sample_view(image: torch.Tensor, camera: Camera, points: torch.Tensor) -> torch.Tensor:
    """Bilinear values (..., C) of ``image`` (C, H, W) where ``camera`` sees world ``points`` (..., 3).

    Outside the image its border goes on, so that an object cut off by the tile is not taken to end there.
    """
    height, width = image.shape[-2:]
    pixels, _ = camera.project(points, height, width)
    grid = pixels / pixels.new_tensor((width / 2.0, height / 2.0)) - 1.0
    values = grid_sample(image[None], grid.reshape(1, 1, -1, 2), align_corners=False, padding_mode="border")
    return values[0, :, 0].T.reshape(*points.shape[:-1], image.shape[0])
