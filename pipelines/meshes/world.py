"""World coordinates and units for the formats that know neither transforms nor units."""

from __future__ import annotations

import re

import numpy as np

from ..errors import Bundle3DError
from .assemble import cofactors, unit
from .glb_write import unit_or
from .mesh import Mesh

NOTE = re.compile(rb"units: ([a-z]{1,32})")


def world_vertices(mesh: Mesh) -> np.ndarray:
    """Vertices (N, 3) with ``transform`` applied: float32 where it is the identity, else float64."""
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with triangles to write, but it has none; check the step before.")
    vertices, matrix = mesh.vertices.detach().cpu().numpy(), mesh.transform.cpu().double().numpy()
    if np.array_equal(matrix, np.eye(4)):
        return vertices.astype(np.float32)
    return vertices.astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def world_normals(mesh: Mesh) -> np.ndarray:
    """The mesh's unit normals (N, 3) float32 in world coordinates."""
    assert mesh.normals is not None
    normals = unit_or(mesh.normals, mesh.vertex_normals).detach().cpu().numpy()
    linear = mesh.transform.cpu().double().numpy()[:3, :3]
    if np.array_equal(linear, np.eye(3)):
        return normals.astype(np.float32)
    return (unit(normals @ cofactors(linear).T) * np.sign(np.linalg.det(linear) or 1.0)).astype(np.float32)


def world_faces(mesh: Mesh) -> np.ndarray:
    """Faces (M, 3), turned around where the transform mirrors."""
    faces = mesh.faces.cpu().numpy()
    return faces[:, ::-1] if np.linalg.det(mesh.transform.double().cpu().numpy()[:3, :3]) < 0 else faces


def units_comment(mesh: Mesh) -> str:
    """The note that `units_note` reads back; units with an unusual name are not noted."""
    note = f"Bundle3D units: {mesh.units}"
    return note if NOTE.search(note.encode()) and mesh.units.isalpha() else "Bundle3D"


def units_note(text: bytes) -> str:
    """The units that a comment or header of ours names; "meter" where it names none."""
    match = NOTE.search(text)
    return match.group(1).decode() if match else "meter"
