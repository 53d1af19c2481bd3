"""Analytic views for tests: a sphere, antialiased on purpose."""

from __future__ import annotations

import torch
from bundle3d.pipelines.views.rig import Rig
from bundle3d.pipelines.views.view_set import ViewSet


def sphere_views(rig: Rig, size: int, radius: float = 0.8, samples: int = 8) -> ViewSet:
    """Views of a sphere at the origin, traced with ``samples`` squared rays per pixel; colour varies with position."""
    masks, normals, colors = [], [], []
    for camera in rig:
        origins, directions = camera.rays(size * samples, size * samples)
        along = -(origins * directions).sum(-1)
        square = radius**2 - (origins * origins).sum(-1) + along**2
        hit = (square > 0.0).double()
        point = origins + directions * (along - square.clamp(min=0.0).sqrt())[..., None]
        coverage = _mean(hit[..., None], samples)
        share = coverage.clamp(min=1e-9)
        masks.append(coverage[..., 0])
        normals.append(torch.nn.functional.normalize(_mean(point * hit[..., None], samples), dim=-1))
        color = _mean((0.4 + 0.2 * point / radius) * hit[..., None], samples) / share
        colors.append(color * coverage + 1.0 - coverage)
    return ViewSet(torch.stack(colors).float(), torch.stack(normals).float(), torch.stack(masks).float(), rig)


def _mean(image: torch.Tensor, samples: int) -> torch.Tensor:
    height, width = image.shape[0] // samples, image.shape[1] // samples
    return image.reshape(height, samples, width, samples, -1).mean(dim=(1, 3))
