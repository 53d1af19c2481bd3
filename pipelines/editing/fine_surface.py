"""The surface of a mesh where views show it, cut into small faces that know where they lie on the mesh's own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from ..errors import Bundle3DError
from ..meshes.densify import densify
from ..meshes.harmonic_fill import joined_at_seams
from ..meshes.mesh import Mesh
from .material_names import material_of_faces, materials_of

EDGE = 0.03  # of the views' units, from which on edges are cut
WHOLE = 1e-4  # of a tile that uv may lie before it
CREASE = 0.8  # cosine between the normals of a face and of its corner from which on the surface counts as smooth


@dataclass(frozen=True)
class FineSurface:
    """``mesh`` (F faces) in the frame of the views, with three vertices of its own for each face of the mesh it was cut
    from: ``colors`` are barycentric weights there, ``face_material`` (F,) the face, and uv lie in the first tile.
    ``normals`` (F, 3, 3) of the corners point outward. ``joined`` is the bare surface with one vertex per place, and
    ``ids`` (N,) the vertex there of each of ``mesh``."""

    mesh: Mesh
    normals: torch.Tensor
    joined: Mesh
    ids: torch.Tensor


def fine_surface(mesh: Mesh, transform: torch.Tensor) -> FineSurface:
    """The surface of ``mesh`` in the frame that ``transform`` (4, 4) takes to the world."""
    vertices, mirrored = placed_vertices(mesh, transform)
    count, corners = len(mesh.faces), mesh.faces.reshape(-1)
    device = mesh.faces.device
    soup = Mesh(
        vertices.index_select(0, corners),
        torch.arange(3 * count, device=device).reshape(count, 3),
        uv=None if mesh.uv is None else tiled_uv(mesh).reshape(-1, 2),
        colors=torch.eye(3, device=device).repeat(count, 1),
        face_material=torch.arange(count, device=device),
    )
    fine = densify(soup, EDGE)
    joined, ids = joined_at_seams(fine)
    normals = corner_normals(joined)
    return FineSurface(fine, -normals if mirrored else normals, joined, ids)


def corner_normals(mesh: Mesh) -> torch.Tensor:
    """Unit normals (M, 3, 3) of the corners of each face: smooth, but the face's own at creases."""
    corners = mesh.vertex_normals()[mesh.faces]
    flat = normalize(mesh.face_normals(), dim=1)[:, None].expand_as(corners)
    return torch.where((corners * flat).sum(-1, keepdim=True) > CREASE, corners, flat)


def placed_vertices(mesh: Mesh, transform: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """Vertices (N, 3) in the frame that ``transform`` (4, 4) takes to the world, and whether that mirrors them.

    A mesh that is in this frame already gives its own vertices. Raises Bundle3DError for a transform of no volume.
    """
    if torch.allclose(mesh.transform, transform, rtol=1e-9, atol=1e-12):
        return mesh.vertices, False
    relative = torch.linalg.inv(transform.double()) @ mesh.transform.double()
    determinant = float(torch.linalg.det(relative[:3, :3]))
    if determinant == 0.0:
        raise Bundle3DError("Expected a mesh with a volume, but its transform flattens it; export it again.")
    relative = relative.to(mesh.vertices.device)
    moved = mesh.vertices.double() @ relative[:3, :3].T + relative[:3, 3]
    return moved.float(), determinant < 0.0


def linear_part(mesh: Mesh, transform: torch.Tensor) -> torch.Tensor:
    """(3, 3) float64, orthogonal: how directions of ``mesh`` lie in the frame that ``transform`` (4, 4) takes to the
    world."""
    relative = torch.linalg.inv(transform.double()) @ mesh.transform.double()
    left, _, right = torch.linalg.svd(relative[:3, :3])
    return left @ right


def tiled_uv(mesh: Mesh) -> torch.Tensor:
    """(M, 3, 2) uv of the corners; faces whose texture repeats are moved by whole tiles, so that they start in the
    first one."""
    assert mesh.uv is not None
    corners = mesh.uv.index_select(0, mesh.faces.reshape(-1)).reshape(-1, 3, 2)
    repeats = torch.tensor([material.repeat for material in materials_of(mesh)], device=corners.device)
    tiles = (corners.amin(1) + WHOLE).floor() * repeats[material_of_faces(mesh)][:, None]
    return corners - tiles[:, None]
