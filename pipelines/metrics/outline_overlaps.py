"""How well the outlines of a mesh agree with those of its views."""

from __future__ import annotations

import torch

from ..meshes.mesh import Mesh
from ..rendering.rasterise import rasterise
from ..views.view_set import ViewSet
from .image import silhouette_iou


@torch.no_grad()
def outline_overlaps(mesh: Mesh, views: ViewSet) -> tuple[float, ...]:
    """Silhouette IoU of ``mesh``, seen by the cameras of ``views``, and the mask, view by view."""
    height, width = views.size
    shown = rasterise(views.rig.clip(mesh.vertices, width / height), mesh.faces, height, width).mask
    return tuple(silhouette_iou(shown.to(views.mask), views.mask).tolist())
