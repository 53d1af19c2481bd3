"""The projection of views onto vertices exactly as the released ISOMER does it, flaws included.

Visibility per face, one viewing direction for a whole image. Source: specs/kiss3dgen.md section 6.8.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..meshes.mesh import Mesh
from ..views.rig import Rig
from .rasterise import rasterise

LEAST_COSINE = 0.05


def project_views_reference(
    mesh: Mesh,
    images: torch.Tensor,
    alpha: torch.Tensor,
    rig: Rig,
    view_weights: Sequence[float],
    power: float,
    resolution: int,
    backend: str = "auto",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted colours (N, C) and weights (N,) of the vertices of ``mesh``.

    ``images`` (V, H, W, C) and ``alpha`` (V, H, W) are sampled where a vertex projects; a vertex counts as seen when
    one of its faces owns a pixel at ``resolution`` and faces the central ray.
    """
    height, width = alpha.shape[1:]
    clip = rig.clip(mesh.vertices, width / height)
    face_normals = torch.nn.functional.normalize(mesh.face_normals(), dim=1)
    normals = mesh.vertex_normals()
    weighted = images.new_zeros(mesh.vertices.shape[0], images.shape[-1])
    weights = images.new_zeros(mesh.vertices.shape[0])
    for view, camera in enumerate(rig):
        face = rasterise(clip[view : view + 1], mesh.faces, resolution, resolution, backend).face
        visible = torch.zeros(mesh.faces.shape[0], dtype=torch.bool, device=face.device)
        visible[face[face >= 0].long()] = True
        forward = -camera.rotation()[2].to(normals)
        kept = visible & ((face_normals @ forward) < -LEAST_COSINE)
        seen = torch.zeros(mesh.vertices.shape[0], dtype=torch.bool, device=face.device)
        seen[mesh.faces[kept].reshape(-1)] = True
        place = clip[view, :, :2] / clip[view, :, 3:]
        seen &= (place.abs() <= 1.0).all(dim=1)
        sampled = torch.nn.functional.grid_sample(
            torch.cat((images[view], alpha[view, ..., None]), dim=-1).permute(2, 0, 1)[None],
            torch.stack((place[:, 0], -place[:, 1]), dim=-1)[None, None],
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        )[0, :, 0].T
        weight = view_weights[view] * (normals @ forward).abs().pow(power) * sampled[:, -1] * seen
        weighted += weight[:, None] * sampled[:, :-1]
        weights += weight
    return weighted, weights
