"""Splitting of long edges that leaves the surface as it is."""

from __future__ import annotations

import torch

from .mesh import Mesh
from .topology import unique_edges

MOST_ROUNDS = 10
MOST_FACES = 400_000


def densify(mesh: Mesh, longest_edge: float) -> Mesh:
    """``mesh`` with edges split at their midpoints until none is longer than ``longest_edge`` (mesh units).

    Attributes of the vertices are interpolated (normals and tangents stay un-normalised, so that interpolation over the
    surface does not change), faces keep their materials. Seam edges split alike on both sides. Splitting stops before
    MOST_FACES faces.
    """
    for _ in range(MOST_ROUNDS):
        edges, face_edges = unique_edges(mesh.faces)
        ends = mesh.vertices[edges.reshape(-1)].reshape(-1, 2, 3)
        long = (ends[:, 0] - ends[:, 1]).norm(dim=1) > longest_edge
        added = int(long[face_edges].sum())
        if not added or mesh.faces.shape[0] + added > MOST_FACES:
            break
        mesh = _split(mesh, edges[long], torch.where(long, long.cumsum(0) - 1, -1)[face_edges])
    return mesh


def _split(mesh: Mesh, edges: torch.Tensor, face_middle: torch.Tensor) -> Mesh:
    """Add the midpoints of ``edges`` (E, 2); ``face_middle`` (M, 3) names that of each side of a face, -1 for none."""
    corners = mesh.faces
    middle = torch.where(face_middle >= 0, face_middle + mesh.vertices.shape[0], corners)
    faces, material = [middle], [mesh.face_material]
    for side in range(3):
        cut = face_middle[:, side] >= 0
        faces.append(torch.stack((corners[:, side], middle[:, side], middle[:, side - 1]), dim=1)[cut])
        material.append(None if mesh.face_material is None else mesh.face_material[cut])

    def extend(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else torch.cat((values, (values[edges[:, 0]] + values[edges[:, 1]]) / 2.0))

    return mesh.with_(
        vertices=extend(mesh.vertices),
        faces=torch.cat(faces),
        uv=extend(mesh.uv),
        normals=extend(mesh.normals),
        tangents=extend(mesh.tangents),
        colors=extend(mesh.colors),
        face_material=None if mesh.face_material is None else torch.cat([m for m in material if m is not None]),
    )
