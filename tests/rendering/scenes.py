"""Small meshes with materials for the tests of shading."""

from __future__ import annotations

import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig

# Looks along -Z at the square [-1, 1]^2, which fills the image exactly.
FRONT = Rig((Camera(0.0, 0.0, 4.0, half_height=1.0),))


def wall(depth: float = 0.0, half: float = 1.0, material: Material | None = None, away: bool = False) -> Mesh:
    """A square facing +Z (or -Z if ``away``) at z = ``depth``, with UV (0, 0) to (1, 1) from its upper left."""
    corners = torch.tensor(((-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0), (1.0, 1.0))) * half
    vertices = torch.cat((corners, torch.full((4, 1), depth)), dim=1)
    uv = torch.tensor(((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0)))
    faces = torch.tensor(((0, 1, 2), (0, 2, 3)))
    return Mesh(vertices, faces.flip(1) if away else faces, uv=uv, materials=() if material is None else (material,))


def stack(*meshes: Mesh) -> Mesh:
    """Several walls as one mesh, each with its own material."""
    faces, index, start = [], [], 0
    for number, mesh in enumerate(meshes):
        faces.append(mesh.faces + start)
        index.append(torch.full((mesh.faces.shape[0],), number))
        start += mesh.vertices.shape[0]
    return Mesh(
        torch.cat([mesh.vertices for mesh in meshes]),
        torch.cat(faces),
        uv=torch.cat([mesh.uv for mesh in meshes if mesh.uv is not None]),
        materials=tuple(mesh.materials[0] for mesh in meshes),
        face_material=torch.cat(index),
    )


def box(x: float, y: float, z: float) -> Mesh:
    """A box of those half-extents with sharp edges, faces outward."""
    vertices: list[list[float]] = []
    faces = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            start = len(vertices)
            for u, v in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
                corner = [0.0, 0.0, 0.0]
                corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = sign, u * sign, v
                vertices.append(corner)
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return Mesh(torch.tensor(vertices) * torch.tensor((x, y, z)), torch.tensor(faces))
