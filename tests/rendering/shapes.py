"""Small exact shapes for the tests of the renderer."""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig

ORTHOGRAPHIC = Rig((Camera(13.0, 7.0, 3.0, half_height=1.1), Camera(110.0, -20.0, 3.0, half_height=1.1)))
PERSPECTIVE = Rig((Camera(13.0, 7.0, 4.5, fov=30.0), Camera(110.0, -20.0, 3.5, fov=40.0)))


def sphere(rings: int, radius: float = 0.8) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed sphere of ``2 * rings`` segments: vertices (N, 3) float64 and faces (M, 3) int64, outward."""
    segments = 2 * rings
    polar = torch.arange(1, rings, dtype=torch.float64) * (math.pi / rings)
    around = torch.arange(segments, dtype=torch.float64) * (2 * math.pi / segments)
    ring = torch.stack(
        (
            polar.sin()[:, None] * around.sin(),
            polar.cos()[:, None].expand(-1, segments),
            polar.sin()[:, None] * around.cos(),
        ),
        dim=-1,
    )
    poles = torch.tensor(((0.0, 1.0, 0.0), (0.0, -1.0, 0.0)), dtype=torch.float64)
    vertices = torch.cat((poles, ring.reshape(-1, 3))) * radius
    faces = []
    for s in range(segments):
        t = (s + 1) % segments
        faces.append((0, 2 + s, 2 + t))
        for r in range(rings - 2):
            a, b = 2 + r * segments, 2 + (r + 1) * segments
            faces += [(a + s, b + s, b + t), (a + s, b + t, a + t)]
        last = 2 + (rings - 2) * segments
        faces.append((last + s, 1, last + t))
    return vertices, torch.tensor(faces)


def bumpy(rings: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere with bumps that hide each other."""
    vertices, faces = sphere(rings)
    return vertices * (1.0 + 0.15 * torch.sin(9.0 * vertices).prod(1, keepdim=True)), faces


def soup(triangles: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random intersecting triangles of all sizes in clip coordinates (1, N, 4), and their faces."""
    random = torch.Generator().manual_seed(seed)
    centre = torch.rand(triangles, 1, 3, generator=random) * 2.4 - 1.2
    size = torch.rand(triangles, 1, 1, generator=random) ** 4
    corners = (centre + size * torch.randn(triangles, 3, 3, generator=random)).reshape(-1, 3)
    w = 0.5 + torch.rand(triangles * 3, 1, generator=random)
    return torch.cat((corners * w, w), dim=1)[None], torch.arange(3 * triangles).reshape(-1, 3)


def flat(points: list[tuple[float, float, float]], size: int) -> torch.Tensor:
    """Clip coordinates (1, N, 4) of points given as pixel x, pixel y and NDC depth in a square image."""
    x, y, z = torch.tensor(points, dtype=torch.float32).unbind(-1)
    return torch.stack((x * 2 / size - 1, 1 - y * 2 / size, z, torch.ones_like(z)), dim=-1)[None]
