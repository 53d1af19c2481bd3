"""How low and how high an object reaches, where its silhouettes alone leave a point above and below.

Rays through a contour touch the object somewhere in the visual hull. Where the contour is a sharp edge (the surface
faces the camera right up to it) they touch near the hull's front, as at the foot of a box; where the surface turns away
smoothly the place is unknown, and the ray's whole stretch within the hull is allowed.
"""

from __future__ import annotations

import torch

from .silhouette import SilhouetteField

CONTOUR_RAYS = 400  # per view
RAY_SAMPLES = 256
EXTREME_BAND = 0.05  # world units: rays whose bound is that near to the tightest one vote
SMOOTH_COSINE, SHARP_COSINE = 0.15, 0.5  # between surface normal and viewing direction beside the contour


def vertical_bounds(field: SilhouetteField, normal: torch.Tensor, half_extent: float) -> tuple[float, float]:
    """Lowest and highest y of the object that silhouettes and ``normal`` (V, H, W, 3) suggest.

    The part of the hull between them still covers every contour within the cube [-half_extent, half_extent]^3. Where
    the silhouettes bind nothing, the bounds are those of the cube.
    """
    height, near_height, sharpness, inside = _contour_samples(field, normal, half_extent)
    hit = inside.any(dim=1)
    if not bool(hit.any()):
        return -half_extent, half_extent
    far_below, far_above = torch.full_like(height, -float("inf")), torch.full_like(height, float("inf"))
    highest = torch.where(inside, height, far_below).amax(dim=1)[hit]
    lowest = torch.where(inside, height, far_above).amin(dim=1)[hit]
    near_height, sharpness = near_height[hit], sharpness[hit]
    low = _vote(highest, near_height * sharpness + lowest * (1.0 - sharpness))
    high = -_vote(-lowest, -(near_height * sharpness + highest * (1.0 - sharpness)))
    return (low, high) if low < high else (-half_extent, half_extent)


def _vote(tightest: torch.Tensor, contact: torch.Tensor) -> float:
    """The median contact height of the rays that reach least high, but no higher than all of them reach."""
    bound = tightest.amin()
    return float(torch.minimum(bound, contact[tightest <= bound + EXTREME_BAND].median()))


def _contour_samples(
    field: SilhouetteField, normal: torch.Tensor, half_extent: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heights (R, S) along the rays just inside every contour, the height (R,) at which a ray enters the hull, the
    sharpness (R,) of its contour in [0, 1], and whether (R, S) the samples are in the hull."""
    parts = []
    image_height, image_width = field.distance.shape[1:]
    tolerance = 0.5 * field.pixel_size()
    for view, camera in enumerate(field.rig):
        image = field.distance[view]
        contour = torch.nonzero((image > 0.0) & (image <= 1.0))
        contour = contour[:: max(1, contour.shape[0] // CONTOUR_RAYS)]
        origins, directions = camera.rays(image_height, image_width)
        origin = origins[contour[:, 0].cpu(), contour[:, 1].cpu()].to(image)
        direction = directions[contour[:, 0].cpu(), contour[:, 1].cpu()].to(image)
        beside = _normals_beside(image, normal[view].to(image))[contour[:, 0], contour[:, 1]]
        cosine = -(beside * direction).sum(dim=1)
        sharpness = ((cosine - SMOOTH_COSINE) / (SHARP_COSINE - SMOOTH_COSINE)).clamp(0.0, 1.0)
        near, far = _cube_interval(origin, direction, half_extent)
        along = near[:, None] + (far - near)[:, None] * torch.linspace(0.0, 1.0, RAY_SAMPLES, device=image.device)
        points = origin[:, None] + direction[:, None] * along[..., None]
        inside = (far > near)[:, None] & (field(points) > -tolerance)
        first = inside.int().argmax(dim=1, keepdim=True)
        parts.append((points[..., 1], points[..., 1].gather(1, first)[:, 0], sharpness, inside))
    heights, near_heights, sharpnesses, insides = (torch.cat(part) for part in zip(*parts))
    return heights, near_heights, sharpnesses, insides


def _normals_beside(distance: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Mean normals (H, W, 3) of the pixels nearby that are well inside the silhouette; zero where there are none."""
    core = (distance > 1.5).to(normal)
    stacked = torch.cat((normal * core[..., None], core[..., None]), dim=-1).permute(2, 0, 1)[None]
    mean = torch.nn.functional.avg_pool2d(stacked, 5, stride=1, padding=2)[0].permute(1, 2, 0)
    return torch.nn.functional.normalize(mean[..., :3], dim=-1)


def _cube_interval(
    origin: torch.Tensor, direction: torch.Tensor, half_extent: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where rays (R, 3) enter and leave the cube, as distances (R,)."""
    safe = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    one, two = (-half_extent - origin) / safe, (half_extent - origin) / safe
    return torch.minimum(one, two).amax(dim=1).clamp(min=0.0), torch.maximum(one, two).amin(dim=1)
