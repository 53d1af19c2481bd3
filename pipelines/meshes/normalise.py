"""Moves a mesh into the unit frame of the pipelines and back to its own place and scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from .mesh import Mesh


@dataclass(frozen=True)
class Placement:
    """How a normalised mesh goes back: ``original = normalised / scale + centre``, and what else it was before.

    ``centre`` (3,) float64 in the original's local frame; ``scale`` normalised per original length; ``transform``
    (4, 4) float64 and ``units`` of the original.
    """

    centre: torch.Tensor
    scale: float
    transform: torch.Tensor
    units: str

    @property
    def matrix(self) -> torch.Tensor:
        """(4, 4) float64 from the normalised frame to the original's local frame."""
        matrix = torch.eye(4, dtype=torch.float64)
        matrix[:3, :3] /= self.scale
        matrix[:3, 3] = self.centre
        return matrix


def normalise(mesh: Mesh, extent: float = 2.0) -> tuple[Mesh, Placement]:
    """The mesh with its bounding-box centre at the origin and its longest side ``extent``, and the way back.

    ``transform`` is adjusted, so that the normalised mesh still exports to its original place. Source: kiss3dgen.md
    section 4. Raises Bundle3DError where the mesh is empty or has no extent.
    """
    low, high = (corner.double().cpu() for corner in mesh.bounds)
    longest = float((high - low).max())
    if longest <= 0.0:
        raise Bundle3DError("Expected a mesh with an extent, but all its vertices coincide; choose another mesh.")
    placement = Placement((low + high) / 2, extent / longest, mesh.transform, mesh.units)
    centre = placement.centre.to(mesh.vertices.device)
    vertices = ((mesh.vertices.double() - centre) * placement.scale).float()
    return mesh.with_(vertices=vertices, transform=mesh.transform @ placement.matrix), placement


def restore(mesh: Mesh, placement: Placement) -> Mesh:
    """A mesh of the normalised frame, whoever made it, in the place, scale and units that ``placement`` remembers."""
    centre = placement.centre.to(mesh.vertices.device)
    vertices = (mesh.vertices.double() / placement.scale + centre).float()
    return mesh.with_(vertices=vertices, transform=placement.transform, units=placement.units)
