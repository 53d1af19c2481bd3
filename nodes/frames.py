"""Brings meshes into the frame in which views show the object."""

from __future__ import annotations

import torch

from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import FARTHEST, normalise, require_normalised
from ..pipelines.meshes.world import in_world

SMALLEST = 0.25  # longest side from which a mesh is taken to be scaled as views are


def placed(mesh: Mesh, transform: torch.Tensor | None) -> Mesh:
    """``mesh`` in the frame of its views, which ``transform`` (4, 4) takes to the world.

    Without views: as it is where it lies within -1 to 1, else moved to the centre and scaled to a longest side of 2.
    Raises Bundle3DError for a mesh that lies elsewhere than its views.
    """
    if transform is not None:
        mesh = in_frame(mesh, transform)
        require_normalised(mesh, "connect the views that it was made of, or none")
        return mesh
    low, high = mesh.bounds
    near = float(torch.maximum(low.abs(), high.abs()).max()) <= FARTHEST
    return mesh if near and float((high - low).max()) >= SMALLEST else normalise(mesh)


def in_frame(mesh: Mesh, transform: torch.Tensor) -> Mesh:
    """The same object in the world, with its vertices in the frame that ``transform`` (4, 4) takes to the world.

    A mesh that is in this frame already comes back as it is, to the last bit.
    """
    if torch.allclose(mesh.transform, transform, rtol=1e-9, atol=1e-12):
        return mesh
    relative = torch.linalg.inv(transform) @ mesh.transform
    return in_world(mesh.with_(transform=relative)).with_(transform=transform)
