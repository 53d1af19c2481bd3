"""Moves a mesh into the unit frame of the pipelines; its transform leads back to its own place and scale."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from .mesh import Mesh

FARTHEST = 1.25  # from the origin along an axis: what reaches farther leaves the pictures of the usual rigs


def normalise(mesh: Mesh, extent: float = 2.0) -> Mesh:
    """The mesh with its bounding-box centre at the origin and its longest side ``extent``.

    ``transform`` is adjusted, so that the normalised mesh still exports to its original place, scale and units. Source:
    kiss3dgen.md section 4. Raises Bundle3DError where the mesh is empty or has no extent.
    """
    low, high = (corner.double().cpu() for corner in mesh.bounds)
    longest = float((high - low).max())
    if longest <= 0.0:
        raise Bundle3DError("Expected a mesh with an extent, but all its vertices coincide; choose another mesh.")
    centre, scale = (low + high) / 2, extent / longest
    back = torch.eye(4, dtype=torch.float64)
    back[:3, :3] /= scale
    back[:3, 3] = centre
    vertices = ((mesh.vertices.double() - centre.to(mesh.vertices.device)) * scale).float()
    return mesh.with_(vertices=vertices, transform=mesh.transform @ back)


def require_normalised(mesh: Mesh, advice: str) -> None:
    """Raises Bundle3DError, with ``advice`` on what to do, where ``mesh`` reaches far beyond -1 to 1."""
    low, high = mesh.bounds
    if float(torch.maximum(low.abs(), high.abs()).max()) > FARTHEST:
        raise Bundle3DError(f"Expected a mesh within -1 to 1, but it spans {_point(low)} to {_point(high)}; {advice}.")


def _point(corner: torch.Tensor) -> str:
    return "(" + ", ".join(f"{float(value):.3g}" for value in corner) + ")"
