"""World coordinates and units for the formats that know neither transforms nor units."""

from __future__ import annotations

import re

import numpy as np
import torch

from ..errors import Bundle3DError
from .assemble import Part, cofactors, transformed, unit
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


def in_world(mesh: Mesh) -> Mesh:
    """The mesh with ``transform`` applied to its vertices, normals, tangents and winding, and then the identity."""
    matrix = mesh.transform.cpu().double().numpy()
    if np.array_equal(matrix, np.eye(4)):
        return mesh

    def array(values: torch.Tensor | None) -> np.ndarray | None:
        return None if values is None else values.detach().cpu().numpy()

    part = Part(
        mesh.vertices.detach().cpu().double().numpy(),
        mesh.faces.cpu().numpy(),
        normals=array(mesh.normals),
        tangents=array(mesh.tangents),
    )
    moved = transformed(part, matrix)
    changes = {"vertices": moved.positions, "normals": moved.normals, "tangents": moved.tangents}
    device = mesh.vertices.device
    tensors = {
        name: torch.from_numpy(values.astype(np.float32)).to(device)
        for name, values in changes.items()
        if values is not None
    }
    faces = torch.from_numpy(np.ascontiguousarray(moved.faces)).to(device)
    return mesh.with_(faces=faces, transform=torch.eye(4, dtype=torch.float64), **tensors)
