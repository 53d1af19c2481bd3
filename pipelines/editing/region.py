"""Which part of a mesh's surface may change, and how much of a change is let through around its border."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.nn.functional import normalize

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..meshes.weld import position_ids
from ..progress import Progress, silent
from .facing_samples import Cells, FacingSamples
from .surface_pieces import Pieces, affordable, areas, cut, whole_faces

COMBINATIONS = ("any", "all")
CHUNK = 1 << 19  # points asked about at once; bounds the memory
PIECES = 100_000  # of squares as long as a piece: how finely the whole surface is looked at, at most
MOST_PIECES = 4_000_000  # more than the mesh has faces, for surfaces of thin triangles and for narrow borders
FINE = 12.0  # pieces across the border, where the region ends
HALVINGS = 5  # of an edge on which the region ends
STEPS = 4


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
        self._reached, self.share, self._samples = self._survey(progress)

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
        share = np.clip(1.0 - samples.distance(*_arrays(points)) / self.reach, 0.0, 1.0)
        return torch.from_numpy(share * share * (3.0 - 2.0 * share)).to(points.face.device, torch.float32)

    def _survey(self, progress: Progress) -> tuple[torch.Tensor, float, FacingSamples | None]:
        """Which faces (M,) can have weight, the inside's share of the area, and samples of it near its border."""
        reached = torch.zeros(len(self.mesh.faces), dtype=torch.bool, device=self.mesh.faces.device)
        if self.is_everything:
            return ~reached, 1.0, None
        whole = whole_faces(self.mesh)
        area = float(areas(self.mesh, whole).sum())
        coarse = affordable(self.mesh, whole, max(self.reach / 3.0, math.sqrt(area / PIECES), 1e-30), MOST_PIECES)
        pieces = cut(self.mesh, whole, coarse)
        progress(1, STEPS)
        inside = self._probe(pieces)
        touched, open_ = inside.any(1), ~inside.all(1)
        progress(2, STEPS)
        if not bool(touched.any()):
            raise Bundle3DError(
                "Expected a region with a part of the mesh in it, but it is empty; paint or name a place on the mesh."
            )
        share = float((areas(self.mesh, pieces) * inside.double().mean(1)).sum()) / max(area, 1e-300)
        reached[pieces.face[touched]] = True
        if self.reach == 0.0 or not bool(open_.any()):
            return reached, share, None
        centres, _ = _arrays(points_on(self.mesh, pieces.face, pieces.centres))
        rim = touched.cpu().numpy() & _within(centres, centres[open_.cpu().numpy()], self.reach + 2.0 * coarse)
        band = pieces[torch.from_numpy(rim).to(touched.device)]
        fine = affordable(self.mesh, band, self.reach / FINE, MOST_PIECES)
        places, normals = _arrays(self._inside_places(cut(self.mesh, band, fine)))
        progress(3, STEPS)
        if not len(places):
            return reached, share, None
        other = (~touched).nonzero()[:, 0]
        near = _within(centres[other.cpu().numpy()], places, self.reach + coarse)
        reached[pieces.face[other[torch.from_numpy(near).to(other.device)]]] = True
        samples = FacingSamples(places, normals, self.reach)
        progress(STEPS, STEPS)
        return reached, share, samples

    def _probe(self, pieces: Pieces) -> torch.Tensor:
        """(K, 4) bool: which corners of each piece, and whether its centroid, lie inside."""
        found = []
        for start in range(0, len(pieces), CHUNK // 4):
            some = pieces[start : start + CHUNK // 4]
            face = some.face.repeat_interleave(4)
            found.append(self.inside(points_on(self.mesh, face, some.probes.reshape(-1, 3))).reshape(-1, 4))
        return torch.cat(found)

    def _inside_places(self, pieces: Pieces) -> SurfacePoints:
        """The corners and centroids of ``pieces`` that lie inside, and where the region ends on their edges."""
        inside, probes = self._probe(pieces), pieces.probes
        face, weights = (
            [pieces.face.repeat_interleave(4)[inside.reshape(-1)]],
            [probes.reshape(-1, 3)[inside.reshape(-1)]],
        )
        for one, two in ((0, 1), (1, 2), (2, 0)):
            crossed = (inside[:, one] != inside[:, two]).nonzero()[:, 0]
            first = inside[crossed, one][:, None]
            within = torch.where(first, probes[crossed, one], probes[crossed, two])
            beyond = torch.where(first, probes[crossed, two], probes[crossed, one])
            for _ in range(HALVINGS):
                middle = (within + beyond) / 2.0
                hit = self.inside(points_on(self.mesh, pieces.face[crossed], middle))[:, None]
                within, beyond = torch.where(hit, middle, within), torch.where(hit, beyond, middle)
            face.append(pieces.face[crossed])
            weights.append(within)
        return points_on(self.mesh, torch.cat(face), torch.cat(weights))


def _arrays(points: SurfacePoints) -> tuple[np.ndarray, np.ndarray]:
    """Positions and normals (P, 3) of points as float64."""
    return points.position.double().cpu().numpy(), points.normal.double().cpu().numpy()


def _within(points: np.ndarray, others: np.ndarray, distance: float) -> np.ndarray:
    """(P,) bool: which of ``points`` (P, 3) lie less than ``distance`` from one of ``others`` (S, 3)."""
    cells = Cells(others, distance)
    found = np.flatnonzero(cells.near(points))
    near = np.zeros(len(points), dtype=bool)
    near[found] = np.isfinite(cKDTree(others).query(points[found], distance_upper_bound=distance)[0])
    return near
