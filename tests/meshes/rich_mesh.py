"""A mesh that uses everything a Mesh can hold."""

from __future__ import annotations

import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh


def noise(height: int, width: int, channels: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, channels), dtype=torch.uint8, generator=generator)


def rich_mesh(vertices: int = 40, faces: int = 60, seed: int = 0) -> Mesh:
    """Random triangles with all attributes and two materials, one with every texture; faces sorted by material."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    normals = torch.nn.functional.normalize(random(vertices, 3) - 0.5, dim=1)
    tangents = torch.nn.functional.normalize(torch.linalg.cross(normals, random(vertices, 3)), dim=1)
    handedness = torch.where(random(vertices, 1) < 0.5, -1.0, 1.0)
    corners = torch.stack([torch.randperm(vertices, generator=generator)[:3] for _ in range(faces)])
    textured = Material(
        "wood and brass",
        (0.5, 0.25, 0.75, 1.0),
        0.25,
        0.5,
        (3.0, 1.5, 0.0),
        0.5,
        0.75,
        noise(8, 16, 4, 1),
        noise(8, 8, 3, 2),
        True,
        noise(4, 4, 3, 3),
        noise(2, 2, 3, 4),
        alpha_mode="MASK",
        alpha_cutoff=0.25,
        double_sided=False,
        repeat=False,
    )
    return Mesh(
        random(vertices, 3) * 8 - 4,
        corners,
        uv=random(vertices, 2) * 3 - 1,
        normals=normals,
        tangents=torch.cat([tangents, handedness], 1),
        colors=random(vertices, 4),
        materials=(textured, Material("glow", (1.0, 0.5, 0.0, 0.5), alpha_mode="BLEND", unlit=True)),
        face_material=(torch.arange(faces) >= faces // 3).long(),
        name="Rich mesh \u00fc",
    )
