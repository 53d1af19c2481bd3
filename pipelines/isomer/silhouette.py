"""Signed distances to the silhouettes of a set of views, in the image and in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..kernels import run_jobs
from ..views.rig import Rig

# Standard deviation, in pixels, of the blur that takes the staircase of the pixels off a silhouette.
STAIRCASE_BLUR = 0.7


@dataclass(frozen=True)
class SilhouetteField:
    """``distance`` (V, H, W) float32: pixels to the nearest silhouette contour, positive inside; one image a camera."""

    distance: torch.Tensor
    rig: Rig

    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        """How deep (...), in world units, ``points`` (..., 3) lie in the silhouette cones; negative outside of any."""
        flat = points.reshape(-1, 3)
        depth = torch.full((flat.shape[0],), float("inf"), dtype=flat.dtype, device=flat.device)
        for view in range(len(self.rig)):
            depth = torch.minimum(depth, self.inside_view(view, flat))
        return depth.reshape(points.shape[:-1])

    def inside_view(self, view: int, points: torch.Tensor) -> torch.Tensor:
        """How deep (P,), in world units, ``points`` (P, 3) lie in the cone of one silhouette.

        A silhouette that touches the edge of its image goes on beyond it; what lies behind a camera is outside.
        """
        camera, image = self.rig[view], self.distance[view].to(points)
        height, width = image.shape
        pixel, depth = camera.project(points, height, width)
        grid = pixel / torch.tensor((width / 2.0, height / 2.0)).to(points) - 1.0
        sampled = torch.nn.functional.grid_sample(
            image[None, None], grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
        )[0, 0, 0]
        pixel_size = 2.0 / (camera.scale * height)
        if not camera.is_perspective:
            return sampled * pixel_size
        return torch.where(depth > 0.0, sampled * depth * pixel_size, torch.full_like(depth, -1.0))

    def pixel_size(self) -> float:
        """The largest world size of a pixel at the target, over the views."""
        return max(camera.pixel_size(self.distance.shape[1]) for camera in self.rig)


def silhouette_field(mask: torch.Tensor, rig: Rig, least_radius: float = 0.0) -> SilhouetteField:
    """The distance field of masks (V, H, W) in [0, 1].

    Parts thinner than twice ``least_radius`` (world units, at the target) are widened to that, so that a grid of that
    radius cannot miss them.
    """
    inside = mask.detach().cpu().numpy() > 0.5

    def distance(view: int) -> np.ndarray:
        own = inside[view]
        signed = _widen_thin_parts(own, _signed_distance(own), least_radius / rig[view].pixel_size(own.shape[0]))
        return ndimage.gaussian_filter(signed, STAIRCASE_BLUR, mode="nearest").astype(np.float32)

    images = run_jobs(distance, ((view,) for view in range(len(rig))))
    return SilhouetteField(torch.from_numpy(np.stack(images)).to(mask.device), rig)


def _signed_distance(inside: np.ndarray) -> np.ndarray:
    """Pixels to the contour, which runs halfway between pixel centres; positive inside."""
    if not inside.any():
        return np.full(inside.shape, -float(max(inside.shape)))
    if inside.all():
        return np.full(inside.shape, float(max(inside.shape)))
    within = ndimage.distance_transform_edt(inside)
    return np.where(inside, within - 0.5, 0.5 - ndimage.distance_transform_edt(~inside))


def _widen_thin_parts(inside: np.ndarray, signed: np.ndarray, radius: float) -> np.ndarray:
    """Grow the parts that have nothing of at least ``radius`` pixels near them to that radius around their ridge."""
    if radius <= 0.5:
        return signed
    # The tip of a right-angled corner is radius * sqrt(2) away from its core, and is to stay as it is.
    thin = inside & (_signed_distance(signed >= radius) < -1.5 * radius - 1.0)
    if not thin.any():
        return signed
    ridge = thin & (signed >= ndimage.maximum_filter(signed, size=3) - 0.25)
    return np.maximum(signed, _signed_distance(ridge) - 0.5 + radius)
