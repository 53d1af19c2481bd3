"""Decoded objects that the tests finish: analytic surfaces with colours that vary linearly over space."""

from __future__ import annotations

import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.volumes.dual_grid import DualGrid
from bundle3d.pipelines.volumes.surface_nets import surface_nets
from bundle3d.pipelines.volumes.voxelise import dual_grid_of_mesh


def solid(kind: str, size: int = 65) -> Mesh:
    """A closed surface in [-0.5, 0.5]^3: a "ball", a "ring", or a "figure" that no axis mirrors."""
    axis = torch.linspace(-0.5, 0.5, size)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    ball = 0.4 - (x * x + y * y + z * z).sqrt()
    ring = 0.12 - torch.hypot(torch.hypot(x, z) - 0.3, y)
    nose = 0.12 - torch.sqrt((x - 0.1) ** 2 + (y - 0.15) ** 2 + (z - 0.3) ** 2)
    ear = 0.1 - torch.sqrt((x - 0.2) ** 2 + (y - 0.3) ** 2 + z * z)
    body = 0.28 - (x * x + y * y + z * z).sqrt()
    field = {"ball": ball, "ring": ring, "figure": torch.maximum(torch.maximum(body, nose), ear)}[kind]
    return surface_nets(field.contiguous(), (-0.5,) * 3, 1.0 / (size - 1))


def decoded(kind: str, resolution: int = 48) -> tuple[DualGrid, torch.Tensor]:
    """The dual grid of a solid and the material (V, 6) of its voxels: linear at their centres, see ``material_at``."""
    mesh = solid(kind)
    grid = dual_grid_of_mesh(mesh.vertices, mesh.faces, resolution)
    return grid, material_at((grid.coords + 0.5) / resolution - 0.5)


def material_at(points: torch.Tensor) -> torch.Tensor:
    """(P, 6) base colour, metallic, roughness and alpha at decoded ``points`` (P, 3)."""
    x, y, z = points.unbind(1)
    return torch.stack((0.5 + x, 0.5 + y, 0.5 + z, 0.5 - x, 0.5 - 0.5 * y, 0.8 + 0.3 * z), dim=1)
