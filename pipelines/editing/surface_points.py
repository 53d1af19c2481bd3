"""Points of a surface, as what looks for parts of it is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from ..meshes.mesh import Mesh


@dataclass(frozen=True)
class SurfacePoints:
    """P points of a mesh: ``face`` (P,) int64 and ``barycentric`` (P, 3) say where they lie; ``position`` (P, 3) in the
    mesh's local frame, unit ``normal`` (P, 3) of the face, zero where it has no area, and ``uv`` (P, 2), if any."""

    face: torch.Tensor
    barycentric: torch.Tensor
    position: torch.Tensor
    normal: torch.Tensor
    uv: torch.Tensor | None = None

    def __len__(self) -> int:
        return self.face.shape[0]

    def __getitem__(self, chosen: torch.Tensor | slice) -> SurfacePoints:
        """The points chosen by a mask (P,), by indices or by a slice."""
        uv = None if self.uv is None else self.uv[chosen]
        return SurfacePoints(
            self.face[chosen], self.barycentric[chosen], self.position[chosen], self.normal[chosen], uv
        )


Part = Callable[[SurfacePoints], torch.Tensor]  # (P,) bool: which of the points belong to it


def points_on(mesh: Mesh, face: torch.Tensor, barycentric: torch.Tensor) -> SurfacePoints:
    """The points of ``mesh`` with ``barycentric`` (P, 3) on the faces ``face`` (P,)."""
    face = face.to(mesh.faces.device, torch.int64)
    weights = barycentric.to(mesh.vertices)
    corners = mesh.faces.index_select(0, face)

    def at(values: torch.Tensor) -> torch.Tensor:
        parts = [weights[:, i : i + 1] * values.index_select(0, corners[:, i]) for i in range(3)]
        return parts[0] + parts[1] + parts[2]

    a, b, c = (mesh.vertices.index_select(0, corners[:, i]) for i in range(3))
    cross = torch.linalg.cross(b - a, c - a)
    longest = cross.abs().amax(1, keepdim=True)
    normal = normalize(cross / torch.where(longest > 0.0, longest, torch.ones_like(longest)), dim=1)
    return SurfacePoints(face, weights, at(mesh.vertices), normal, None if mesh.uv is None else at(mesh.uv))
