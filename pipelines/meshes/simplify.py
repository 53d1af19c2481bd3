"""Reduction of a mesh to fewer triangles."""

from __future__ import annotations

import fast_simplification
import numpy as np
import torch

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from .mesh import Mesh
from .repair import RepairOptions, repair
from .topology import is_manifold, is_watertight
from .transfer import transfer_attributes
from .weld import weld

# How fast the error threshold of a pass grows: 5 reaches every target and errs a fifth less than the library's 7.
GROWTH = 5


def simplify(mesh: Mesh, target_faces: int, progress: Progress = silent) -> Mesh:
    """Collapse edges by quadric error until about ``target_faces`` triangles are left.

    Seams are welded first, so a closed surface stays closed and manifold; uv, colours and materials are then carried
    over from the nearest points of the original, normals and tangents are dropped. A mesh that has no more faces than
    asked comes back unchanged. Raises Bundle3DError for fewer than 4 target faces.
    """
    if target_faces < 4:
        raise Bundle3DError(f"Expected at least 4 target faces, but got {target_faces}; a closed solid needs four.")
    if mesh.faces.shape[0] <= target_faces:
        return mesh
    bare = mesh.with_(uv=None, colors=None, normals=None, tangents=None, face_material=None)
    welded = weld(bare.to("cpu"), keep_seams=False)
    progress(1, 5)
    reduced = _collapse(welded, target_faces)
    progress(2, 5)
    if _is_sound(welded) and not _is_sound(reduced):
        options = RepairOptions(weld=0.0, debris=0.0, inner_shells=False)
        reduced = repair(reduced, options, Stage(progress, 2, 4, 5))
    progress(4, 5)
    device = mesh.vertices.device
    return transfer_attributes(mesh, reduced.vertices.to(device), reduced.faces.to(device))


def _is_sound(mesh: Mesh) -> bool:
    return is_watertight(mesh.faces) and is_manifold(mesh.faces)


def _collapse(mesh: Mesh, target_faces: int) -> Mesh:
    # the library squares coordinates in its thresholds, so it gets every mesh at unit size
    low, high = mesh.bounds
    centre, scale = (low + high) / 2, float((high - low).max().clamp(min=1e-30))
    points = ((mesh.vertices - centre) / scale).numpy().astype(np.float32)
    vertices, faces = fast_simplification.simplify(
        points, mesh.faces.int().numpy(), target_count=target_faces, agg=GROWTH
    )
    restored = torch.from_numpy(np.asarray(vertices, dtype=np.float32)) * scale + centre
    return mesh.with_(vertices=restored, faces=torch.from_numpy(np.asarray(faces, dtype=np.int64)))
