"""Brings meshes into the frame in which views show the object."""

from __future__ import annotations

import torch

from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.world import in_world


def in_frame(mesh: Mesh, transform: torch.Tensor) -> Mesh:
    """The same object in the world, with its vertices in the frame that ``transform`` (4, 4) takes to the world.

    A mesh that is in this frame already comes back as it is, to the last bit.
    """
    if torch.allclose(mesh.transform, transform, rtol=1e-9, atol=1e-12):
        return mesh
    relative = torch.linalg.inv(transform) @ mesh.transform
    return in_world(mesh.with_(transform=relative)).with_(transform=transform)
