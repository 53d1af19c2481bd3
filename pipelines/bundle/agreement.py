"""Do two views show the same colour and normal where they see the same point of the surface?

Without a surface, the point on a pixel's ray is taken to be the one inside the visual hull at which the other view's
normal agrees best: the hull itself is a poor surface, for perpendicular views see no point of it in common.
"""

from __future__ import annotations

import torch
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ..meshes.mesh import Mesh
from ..metrics.image import normal_angles
from ..rendering.render_mesh import iterate_buffers
from ..views.hull_rays import HullRays, in_silhouettes, ray_points, sample_view
from ..views.rig import Rig
from ..views.view_set import ViewSet

# Points that either camera sees more obliquely than this cosine are not compared.
LEAST_COSINE = 0.35
# On a given mesh, two views see the same point if their surfaces there are nearer than this, in world units.
SAME_SURFACE = 0.03
# Pixels with any background in them are left out.
COVERED = 0.99
# A median needs no more points than this.
MOST_POINTS = 800


class Surfaces:
    """Candidates for the surface point behind every pixel, from a mesh or from silhouettes."""

    def __init__(self, views: ViewSet, rays: HullRays, mesh: Mesh | None) -> None:
        self.views, self.rays = views, rays
        size = rays.mask.shape[-1]
        planes = torch.cat((views.rgb, views.normal, views.mask[..., None]), dim=-1).permute(0, 3, 1, 2)
        self.images = adaptive_avg_pool2d(planes.float(), size)
        self.positions = None if mesh is None else mesh_positions(mesh, views.rig, size)

    def compare(self, first: int, second: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean absolute sRGB differences (P,) and normal angles (P,) in degrees, at points of view ``first`` that view
        ``second`` faces too."""
        image, camera = self.images[first], self.views.rig[second]
        toward_second = camera.rotation()[2].to(image)
        normal = normalize(image[3:6], dim=0)
        chosen = (image[6] > COVERED) & ((normal * toward_second[:, None, None]).sum(0) > LEAST_COSINE)
        toward_first = self.views.rig[first].rotation()[2].to(image)
        chosen &= (normal * toward_first[:, None, None]).sum(0) > LEAST_COSINE
        chosen = _thinned(chosen, MOST_POINTS)
        points, usable = self._candidates(first, second, chosen)
        theirs = sample_view(self.images[second], camera, points)
        mine = image[:, chosen].T[:, None].expand(-1, points.shape[1], -1)
        angles = normal_angles(mine[..., 3:6], theirs[..., 3:6])
        angles = torch.where(usable & (theirs[..., 6] > COVERED), angles, torch.inf)
        if not angles.numel():
            return image.new_zeros(0), image.new_zeros(0)
        best, index = angles.min(dim=1)
        colors = (mine[..., :3] - theirs[..., :3]).abs().mean(-1).gather(1, index[:, None])[:, 0]
        found = torch.isfinite(best)
        return colors[found], best[found].to(colors)

    def _candidates(self, first: int, second: int, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points (P, K, 3) on the rays of the ``chosen`` pixels and which of them (P, K) may be on the surface."""
        if self.positions is None:
            points = ray_points(self.views.rig[first], chosen)
            return points, in_silhouettes(self.rays.soft, self.views.rig, points).all(dim=0)
        points = self.positions[first].permute(1, 2, 0)[chosen][:, None]
        there = sample_view(self.positions[second], self.views.rig[second], points)
        return points, (there - points).norm(dim=-1) < SAME_SURFACE


def _thinned(chosen: torch.Tensor, most: int) -> torch.Tensor:
    """About ``most`` of the true pixels of ``chosen`` (S, S), evenly spread."""
    index = chosen.reshape(-1).nonzero().squeeze(1)
    thin = torch.zeros_like(chosen).reshape(-1)
    thin[index[:: max(1, index.numel() // most)]] = True
    return thin.reshape(chosen.shape)


def mesh_positions(mesh: Mesh, rig: Rig, size: int) -> torch.Tensor:
    """World positions (V, 3, S, S) of ``mesh`` as the cameras see it."""
    buffers = list(iterate_buffers(mesh, rig, size, size, "normal", supersample=1))
    return torch.stack([view.position.permute(2, 0, 1) for view in buffers])
