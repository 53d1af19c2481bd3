"""Parts of a file, in float64 world coordinates, joined into one Mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import Bundle3DError
from .mesh import Material, Mesh, vertex_normals

FAR = 256.0  # offsets beyond this many extents cost float32 a visible part of its 24 bits


@dataclass
class Part:
    """Triangles with their attributes.

    ``positions`` (N, 3) float64, ``faces`` (M, 3), ``materials`` (M,) indices; per vertex ``normals`` (N, 3),
    ``tangents`` (N, 4), ``uv`` (N, 2), ``colors`` (N, 3 or 4) linear. What is absent is None.
    """

    positions: np.ndarray
    faces: np.ndarray
    materials: np.ndarray | None = None
    normals: np.ndarray | None = None
    tangents: np.ndarray | None = None
    uv: np.ndarray | None = None
    colors: np.ndarray | None = None


def transformed(part: Part, matrix: np.ndarray) -> Part:
    """The part moved by ``matrix`` (4, 4): normals by the inverse transpose, winding kept outward under mirroring."""
    if np.array_equal(matrix, np.eye(4)):
        return part
    linear = matrix[:3, :3]
    positions = part.positions @ linear.T + matrix[:3, 3]
    determinant = np.linalg.det(linear)
    faces, normals, tangents = part.faces, part.normals, part.tangents
    if determinant < 0:
        faces = faces[:, ::-1]
    if normals is not None:
        normals = unit(normals.astype(np.float64) @ cofactors(linear).T * np.sign(determinant or 1.0))
    if tangents is not None:
        handedness = tangents[:, 3:] * (-1.0 if determinant < 0 else 1.0)
        tangents = np.concatenate([unit(tangents[:, :3].astype(np.float64) @ linear.T), handedness], axis=1)
    return Part(positions, faces, part.materials, normals, tangents, part.uv, part.colors)


def cofactors(linear: np.ndarray) -> np.ndarray:
    """Cofactor matrix (..., 3, 3): the inverse transpose times the determinant, defined for singular matrices too."""
    a, b, c = linear[..., 0, :], linear[..., 1, :], linear[..., 2, :]
    return np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-2)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, 3) scaled to length one; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def assemble(parts: list[Part], materials: tuple[Material, ...], name: str, units: str = "meter") -> Mesh:
    """One Mesh of all parts. Far from the origin, its vertices are centred and ``transform`` carries the offset.

    Raises Bundle3DError where there are no triangles or where a number is not finite.
    """
    parts = [part for part in parts if part.faces.shape[0]]
    if not parts:
        raise Bundle3DError("Expected a mesh with triangles, but the file has none; choose a file with a surface.")
    counts = [part.positions.shape[0] for part in parts]
    starts = np.cumsum([0, *counts[:-1]])
    positions = np.concatenate([part.positions for part in parts])
    if not np.isfinite(positions).all() or np.abs(positions).max() > 1e30:
        raise Bundle3DError("Expected finite vertex positions, but some are NaN or infinite; repair the mesh first.")
    faces = np.concatenate([part.faces.astype(np.int64) + start for part, start in zip(parts, starts)])
    low, high = positions.min(0), positions.max(0)
    transform = np.eye(4)
    if np.abs(low + high).max() / 2 > FAR * (high - low).max():
        transform[:3, 3] = (low + high) / 2
        positions = positions - transform[:3, 3]
    face_material = None
    if len(materials) > 1:
        indices = [np.zeros(len(p.faces), np.int64) if p.materials is None else p.materials for p in parts]
        face_material = torch.from_numpy(np.concatenate(indices).astype(np.int64))
    vertices = _tensor(positions)
    corners = torch.from_numpy(np.ascontiguousarray(faces))
    return Mesh(
        vertices,
        corners,
        uv=_joined(parts, "uv", np.zeros(2)),
        normals=_with_all_normals(_joined(parts, "normals", np.zeros(3)), vertices, corners),
        tangents=_joined(parts, "tangents", None),
        colors=_joined(parts, "colors", np.ones(4)),
        materials=materials,
        face_material=face_material,
        transform=torch.from_numpy(transform),
        units=units,
        name=name,
    )


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def _joined(parts: list[Part], field: str, missing: np.ndarray | None) -> torch.Tensor | None:
    """An attribute of all parts; a part without it gets ``missing`` rows, or nobody has it where that is None."""
    values = [getattr(part, field) for part in parts]
    present = [value for value in values if value is not None]
    if missing is None and len(present) < len(values):
        return None
    if not present:
        return None
    width = max(value.shape[1] for value in present)
    rows = []
    for part, value in zip(parts, values):
        count = part.positions.shape[0]
        if value is None and missing is not None:
            value = np.broadcast_to(missing[:width], (count, width))
        elif value.shape[1] < width:
            value = np.concatenate([value, np.ones((count, width - value.shape[1]), value.dtype)], axis=1)
        rows.append(value)
    joined = np.concatenate(rows).astype(np.float32)
    if not np.isfinite(joined).all():
        raise Bundle3DError(f"Expected finite {field}, but some are NaN or infinite; export the file again.")
    return _tensor(joined)


def _with_all_normals(normals: torch.Tensor | None, vertices: torch.Tensor, faces: torch.Tensor) -> torch.Tensor | None:
    """Normals where zero rows (absent in the file) are replaced by those of the surface."""
    if normals is None:
        return None
    absent = normals.norm(dim=1) < 1e-6
    if bool(absent.any()):
        normals = torch.where(absent[:, None], vertex_normals(vertices, faces), normals)
    return normals
