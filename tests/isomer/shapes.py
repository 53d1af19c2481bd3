"""Analytic meshes and measures that the tests of this folder share."""

from __future__ import annotations

import math

import torch


def torus(
    large: float = 0.6, small: float = 0.25, around: int = 24, across: int = 12
) -> tuple[torch.Tensor, torch.Tensor]:
    """The torus of the golden numbers (specs/kiss3dgen.md 12.4): vertices float32 and faces."""
    u = torch.arange(around, dtype=torch.float64) * (2 * math.pi / around)
    v = torch.arange(across, dtype=torch.float64) * (2 * math.pi / across)
    u, v = torch.meshgrid(u, v, indexing="ij")
    ring = large + small * v.cos()
    vertices = torch.stack((ring * u.cos(), ring * u.sin(), small * v.sin()), dim=-1).reshape(-1, 3).float()
    i, j = torch.meshgrid(torch.arange(around), torch.arange(across), indexing="ij")
    next_i, next_j = (i + 1) % around, (j + 1) % across
    a, b, c, d = i * across + j, next_i * across + j, next_i * across + next_j, i * across + next_j
    quads = torch.stack((torch.stack((a, b, c), dim=-1), torch.stack((a, c, d), dim=-1)), dim=2)
    return vertices, quads.reshape(-1, 3)


def area_and_volume(vertices: torch.Tensor, faces: torch.Tensor) -> tuple[float, float]:
    a, b, c = vertices.double()[faces].unbind(1)
    cross = torch.linalg.cross(b - a, c - a)
    return float(cross.norm(dim=1).sum() / 2), float((a * cross).sum() / 6)
