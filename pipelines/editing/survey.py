"""Where on a mesh a part of its surface is, how large it is, and samples of it from which its border is measured."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.spatial import cKDTree

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from .facing_samples import Cells, FacingSamples
from .surface_pieces import Pieces, affordable, areas, cut, whole_faces
from .surface_points import Part, points_on

CHUNK = 1 << 17  # pieces looked at at once; bounds the memory
PIECES = 100_000  # of squares as long as a piece: how finely the whole surface is looked at, at most
MOST_PIECES = 4_000_000  # more than the mesh has faces, for surfaces of thin triangles and for narrow borders
ACROSS = 3.0  # pieces across the border
FINE = 8.0  # the same where the part ends
HALVINGS = 5  # of an edge on which the part ends
STEPS = 4

# Faces and barycentric coordinates.
Places = tuple[torch.Tensor, torch.Tensor]


def survey(
    mesh: Mesh, inside: Part, reach: float, progress: Progress = silent
) -> tuple[torch.Tensor, float, FacingSamples | None]:
    """Which faces (M,) of ``mesh`` come within ``reach`` (mesh units) of the part ``inside``, the part's share of the
    area, and samples of it; None where nothing lies outside or there is no reach.

    The whole surface is looked at in small pieces, and in smaller ones where the part ends; there the end is found on
    their edges. Raises Bundle3DError where nothing is inside.
    """
    whole = whole_faces(mesh)
    area = float(areas(mesh, whole).sum())
    size = affordable(mesh, whole, max(reach / ACROSS, math.sqrt(area / PIECES), 1e-30), MOST_PIECES)
    pieces = cut(mesh, whole, size)
    progress(1, STEPS)
    votes = _probe(mesh, inside, pieces)
    touched, open_ = votes.any(1), ~votes.all(1)
    progress(2, STEPS)
    if not bool(touched.any()):
        raise Bundle3DError(
            "Expected a region with a part of the mesh in it, but it is empty; paint or name a place on the mesh."
        )
    share = float((areas(mesh, pieces) * votes.double().mean(1)).sum()) / max(area, 1e-300)
    reached = torch.zeros(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
    reached[pieces.face[touched]] = True
    if reach == 0.0 or not bool(open_.any()):
        return reached, share, None
    near = touched & _within(mesh, _centres(pieces), _centres(pieces[open_]), reach + 2.0 * size)
    rim = torch.zeros_like(near)
    rim[near] = _within(mesh, _centres(pieces[near]), _chosen(pieces[open_], ~votes[open_]), size)
    rim |= touched & open_
    found = [_chosen(pieces[near & ~rim], votes[near & ~rim])]
    band = pieces[rim]
    found += _ends(mesh, inside, cut(mesh, band, affordable(mesh, band, min(size, reach / FINE), MOST_PIECES)))
    places = torch.cat([face for face, _ in found]), torch.cat([weights for _, weights in found])
    progress(3, STEPS)
    others = pieces[~touched]
    reached[others.face[_within(mesh, _centres(others), places, reach + size)]] = True
    points = points_on(mesh, *places)
    position, normal = (values.double().cpu().numpy() for values in (points.position, points.normal))
    samples = FacingSamples(position, normal, reach)
    progress(STEPS, STEPS)
    return reached, share, samples


def _probe(mesh: Mesh, inside: Part, pieces: Pieces) -> torch.Tensor:
    """(K, 4) bool: which corners of each piece, and whether its centroid, lie inside."""
    found = [torch.zeros(0, 4, dtype=torch.bool, device=pieces.face.device)]
    for start in range(0, len(pieces), CHUNK):
        some = pieces[start : start + CHUNK]
        points = points_on(mesh, some.face.repeat_interleave(4), some.probes.reshape(-1, 3))
        found.append(inside(points).reshape(-1, 4))
    return torch.cat(found)


def _ends(mesh: Mesh, inside: Part, pieces: Pieces) -> list[Places]:
    """The corners and centroids of ``pieces`` that lie inside, and where the part ends on their edges."""
    votes, probes = _probe(mesh, inside, pieces), pieces.probes
    places = [_chosen(pieces, votes)]
    for one, two in ((0, 1), (1, 2), (2, 0)):
        crossed = (votes[:, one] != votes[:, two]).nonzero()[:, 0]
        first = votes[crossed, one][:, None]
        within = torch.where(first, probes[crossed, one], probes[crossed, two])
        beyond = torch.where(first, probes[crossed, two], probes[crossed, one])
        for _ in range(HALVINGS):
            middle = (within + beyond) / 2.0
            hit = inside(points_on(mesh, pieces.face[crossed], middle))[:, None]
            within, beyond = torch.where(hit, middle, within), torch.where(hit, beyond, middle)
        places.append((pieces.face[crossed], within))
    return places


def _chosen(pieces: Pieces, votes: torch.Tensor) -> Places:
    """The corners and centroids of pieces where ``votes`` (K, 4) is true."""
    return pieces.face.repeat_interleave(4)[votes.reshape(-1)], pieces.probes[votes]


def _centres(pieces: Pieces) -> Places:
    return pieces.face, pieces.centres


def _within(mesh: Mesh, places: Places, others: Places, distance: float) -> torch.Tensor:
    """(P,) bool: which of P places lie less than ``distance`` from one of the others."""
    near = torch.zeros(len(places[0]), dtype=torch.bool, device=places[0].device)
    one, two = (points_on(mesh, *some).position.double().cpu().numpy() for some in (places, others))
    if not len(one) or not len(two):
        return near
    some = np.flatnonzero(Cells(two, distance).near(one))
    if len(some):
        two = two[Cells(one[some], distance).near(two)]
        found = cKDTree(two).query(one[some], distance_upper_bound=distance)[0]
        near[torch.from_numpy(some[np.isfinite(found)]).to(near.device)] = True
    return near
