"""Meshes made ready to be painted on: one texture, in which every spot of the surface has texels of its own."""

from __future__ import annotations

import torch

from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from .material_images import needed_slots
from .one_material import one_material
from .rebake import rebake
from .texel_map import uv_overlap
from .unwrap import unwrap

OUTSIDE = 1e-4  # of the texture's side that uv may lie beyond its edge
SHARED = 0.01  # of the texels that several faces may share


def paintable(mesh: Mesh, resolution: int, progress: Progress = silent, backend: str = "auto") -> tuple[Mesh, int]:
    """``mesh`` with at most one material and unique uv, and the side in texels of the texture to paint.

    That is ``resolution``, or more where its own texture is finer. Texture coordinates that repeat, or that several
    parts share, are made anew, and its textures baked into them; without a texture it is unwrapped.
    """
    mesh = one_material(mesh)
    textures = mesh.materials[0].textures if mesh.materials else {}
    if mesh.uv is None or not textures:
        return unwrap(mesh.with_(uv=None), resolution, backend=backend, progress=progress)[0], resolution
    largest = max(max(texture.shape[:2]) for texture in textures.values())
    resolution = max(resolution, largest)
    uv = mesh.uv
    outside = bool(((uv < -OUTSIDE) | (uv > 1.0 + OUTSIDE)).any())
    if outside or uv_overlap(uv, mesh.faces, resolution, backend).share > SHARED:
        alone = mesh.with_(face_material=torch.zeros(len(mesh.faces), dtype=torch.int64, device=mesh.faces.device))
        mesh = rebake(alone, needed_slots(mesh.materials), resolution, progress=progress)
    progress(1, 1)
    return mesh, resolution
