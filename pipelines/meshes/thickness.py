"""How thick a closed mesh is on average."""

from __future__ import annotations

import torch

from .mesh import Mesh


def mean_thickness(mesh: Mesh) -> float:
    """Twice the volume over the area of a closed mesh that faces outward, in its units: the distance of two parallel
    sheets, two thirds of the radius of a ball. 0 for a mesh without area."""
    corners = mesh.vertices.double()[mesh.faces]
    a, b, c = (corners[:, corner] for corner in range(3))
    volume = (torch.linalg.cross(a, b) * c).sum() / 6.0
    area = torch.linalg.cross(b - a, c - a).norm(dim=1).sum() / 2.0
    return float(2.0 * volume / area) if float(area) > 0 else 0.0
