"""Closed analytic meshes of a fineness of one's choice."""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.meshes.mesh import Mesh


def sphere(radius: float = 1.0, rings: int = 96, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A latitude-longitude sphere, faces outward."""
    polar = torch.linspace(0.0, math.pi, rings + 1, dtype=torch.float64)
    around = torch.arange(2 * rings, dtype=torch.float64) * (math.pi / rings)
    sine = polar.sin()[:, None]
    grid = torch.stack((sine * around.sin(), polar.cos()[:, None].expand(-1, 2 * rings), sine * around.cos()), dim=-1)
    index = torch.arange((rings + 1) * 2 * rings).reshape(rings + 1, 2 * rings)
    a, b = index[:-1], index[1:]
    c, d = b.roll(-1, dims=1), a.roll(-1, dims=1)
    faces = torch.cat((torch.stack((a, b, c), -1).reshape(-1, 3), torch.stack((a, c, d), -1).reshape(-1, 3)))
    vertices = grid.reshape(-1, 3) * radius + torch.tensor(centre, dtype=torch.float64)
    return Mesh(vertices.float(), faces)


def box(x: float, y: float, z: float) -> Mesh:
    """A box with those half-extents, one quad of two triangles per side with its own vertices, faces outward."""
    vertices, faces = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            first, second = (axis + 1) % 3, (axis + 2) % 3
            start = len(vertices)
            for u, v in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
                corner = [0.0, 0.0, 0.0]
                corner[axis], corner[first], corner[second] = sign, u * sign, v
                vertices.append(corner)
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return Mesh(torch.tensor(vertices) * torch.tensor((x, y, z)), torch.tensor(faces))
