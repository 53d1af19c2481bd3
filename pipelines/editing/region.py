"""Which part of a mesh's surface may change, and how much of a change is let through around its border."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.weld import position_ids
from ..progress import Progress, silent
from .facing_samples import FacingSamples
from .surface_points import Part, SurfacePoints, points_on
from .survey import survey

__all__ = ["COMBINATIONS", "Part", "Region", "SurfacePoints", "points_on"]

COMBINATIONS = ("any", "all")
CHUNK = 1 << 19  # points asked about at once; bounds the memory


class Region:
    """The part of ``mesh`` that may change: what lies in any of ``parts``, or in all of them, or, inverted, the rest.

    Without parts that is everything. Around it the weight falls smoothly from 1 to 0 over ``border``, a share of the
    longest side of the mesh's bounding box, measured through space to the nearest place inside that does not face the
    other way: the other side of a thin wall is left alone. What is inside is looked for in steps of a few thousandths
    of the mesh; parts much smaller than that may be missed. ``share`` is the inside's part of the mesh's area, about.

    Raises Bundle3DError for an unknown combination, a negative border, a mesh without faces, and where nothing of the
    mesh is inside.
    """

    def __init__(
        self,
        mesh: Mesh,
        parts: Sequence[Part] = (),
        combine: str = "any",
        invert: bool = False,
        border: float = 0.02,
        progress: Progress = silent,
    ) -> None:
        if combine not in COMBINATIONS:
            raise Bundle3DError(f"Expected parts combined by {' or '.join(COMBINATIONS)}, but got {combine!r}.")
        if not 0.0 <= border <= 1.0:
            raise Bundle3DError(f"Expected a border of 0 to 1 times the size of the mesh, but got {border}; try 0.02.")
        if not mesh.faces.shape[0]:
            raise Bundle3DError("Expected a mesh with faces, but it has none; load or reconstruct another mesh.")
        self.mesh, self.parts, self.combine, self.invert, self.border = mesh, tuple(parts), combine, invert, border
        low, high = mesh.bounds
        self.reach = border * float((high - low).max())
        everywhere = torch.ones(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
        self._reached, self.share, self._samples = (
            (everywhere, 1.0, None) if self.is_everything else survey(mesh, self.inside, self.reach, progress)
        )

    @property
    def is_everything(self) -> bool:
        """Whether the whole mesh may change."""
        return not self.parts and not self.invert

    def inside(self, points: SurfacePoints) -> torch.Tensor:
        """(P,) bool: which of the ``points`` of the mesh lie in the region itself, without the border."""
        votes = torch.ones(len(points), dtype=torch.bool, device=points.face.device)
        if self.parts:
            stacked = torch.stack([part(points) for part in self.parts])
            votes = stacked.any(0) if self.combine == "any" else stacked.all(0)
        return votes ^ self.invert

    def weight(self, points: SurfacePoints) -> torch.Tensor:
        """(P,) float32 in [0, 1] at ``points`` of the mesh, as ``points_on(region.mesh, ...)`` gives them: 1 inside,
        exactly 0 beyond the border."""
        if self.is_everything:
            return torch.ones(len(points), device=points.face.device)
        weight = torch.zeros(len(points), device=points.face.device)
        for chunk in self._reached[points.face].nonzero()[:, 0].split(CHUNK):
            some = points[chunk]
            inside = self.inside(some)
            weight[chunk[inside]] = 1.0
            if self._samples is not None:
                around = some[~inside]
                weight[chunk[~inside]] = self._fallen(around, self._samples)
        return weight

    def faces(self) -> torch.Tensor:
        """(M,) bool: the faces of which a point can have a weight above 0."""
        return self._reached.clone()

    def vertices(self) -> torch.Tensor:
        """(N,) float32 weights of the vertices, alike for all at one place: the least of those at the corners of the
        faces that meet there. What no face uses has 0."""
        mesh, device = self.mesh, self.mesh.faces.device
        face = torch.arange(len(mesh.faces), device=device).repeat_interleave(3)
        corner = torch.eye(3, device=device).repeat(len(mesh.faces), 1)
        weight = self.weight(points_on(mesh, face, corner))
        ids = position_ids(mesh.vertices)
        place = ids[mesh.faces.reshape(-1)]
        least = torch.full((len(mesh.vertices),), 2.0, device=device).scatter_reduce(0, place, weight, reduce="amin")
        return torch.where(least > 1.0, torch.zeros_like(least), least)[ids]

    def require(self, mesh: Mesh) -> None:
        """Raises Bundle3DError unless the region was made for the triangles of ``mesh``."""
        if not torch.equal(self.mesh.faces, mesh.faces.to(self.mesh.faces.device)):
            raise Bundle3DError(
                f"Expected a region of this mesh with {len(mesh.faces):,} triangles, but it was made for another one "
                f"with {len(self.mesh.faces):,}; make the region of the mesh that is edited."
            )

    def _fallen(self, points: SurfacePoints, samples: FacingSamples) -> torch.Tensor:
        """(P,) float32 weights at ``points`` outside of the parts."""
        position, normal = (values.double().cpu().numpy() for values in (points.position, points.normal))
        share = np.clip(1.0 - samples.distance(position, normal) / self.reach, 0.0, 1.0)
        return torch.from_numpy(share * share * (3.0 - 2.0 * share)).to(points.face.device, torch.float32)
