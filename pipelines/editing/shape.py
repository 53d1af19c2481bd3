"""A mesh bent to the shape of another surface, within a region, with its own triangles.

The displacement of each vertex leads to the nearest place of the target that faces the same way; what finds none
follows its surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from ..errors import Bundle3DError
from ..isomer.smooth import neighbour_sums
from ..meshes.closest import SurfaceIndex
from ..meshes.harmonic_fill import harmonic_fill, joined_at_seams
from ..meshes.mesh import Mesh, vertex_normals
from ..meshes.weld import first_of_each
from ..progress import Progress, silent
from .changes import smoothstep
from .fine_surface import placed_vertices
from .region import Region
from .rotations import rotated, rotation_between

ROUNDS = 4  # of looking for the nearest places anew
AGREE = 0.3  # least cosine between the normals of both surfaces


@dataclass(frozen=True)
class ShapeOptions:
    """Shares of the longest side of the mesh's box: vertices move by up to ``reach``, and by less than ``least`` not at
    all. ``smoothing``: rounds in which displacements are averaged with their neighbours'."""

    reach: float = 0.15
    least: float = 0.002
    smoothing: int = 3


@dataclass(frozen=True)
class ShapeEdit:
    """The bent ``mesh``, how many vertices ``moved``, and the ``largest`` displacement in units of its world."""

    mesh: Mesh
    moved: int
    largest: float


@torch.no_grad()
def edit_shape(
    mesh: Mesh,
    target: Mesh,
    region: Region | None = None,
    options: ShapeOptions = ShapeOptions(),
    progress: Progress = silent,
) -> ShapeEdit:
    """``mesh`` with its vertices moved to the surface of ``target``, both with their transforms, within ``region``.

    Triangles, texture coordinates and materials stay; vertices with a weight of zero keep their bits, as do those of a
    mesh that lies on the target already. Stored normals and tangents turn with the surface around them.

    Raises Bundle3DError for a mesh or target without faces, a region of another mesh, and a target that no vertex to be
    moved is near to.
    """
    for item, advice in ((mesh, "load another mesh"), (target, "reconstruct it again")):
        if not len(item.faces):
            raise Bundle3DError(f"Expected a mesh with faces, but {item.name} is empty; {advice}.")
    if region is not None:
        region.require(mesh)
    joined, ids = joined_at_seams(mesh)
    first = first_of_each(ids, len(joined.vertices))
    weight = torch.ones(len(first), device=first.device)
    if region is not None:
        weight = region.vertices().to(first.device)[first]
    low, high = mesh.bounds
    side = float((high - low).max())
    surface, _ = placed_vertices(target, mesh.transform)
    offset = _displacement(joined, Mesh(surface, target.faces), weight > 0.0, side * options.reach, options, progress)
    length = offset.norm(dim=1, keepdim=True)
    offset = offset * (smoothstep(length, side * options.least, 2.0 * side * options.least) * weight[:, None])
    moved = (offset != 0.0).any(1)
    if not bool(moved.any()):
        return ShapeEdit(mesh, 0, 0.0)
    vertices = joined.vertices.double() + offset
    bent = _bent(mesh, joined, vertices, moved, ids)
    linear = mesh.transform[:3, :3].to(offset)
    return ShapeEdit(bent, int(moved[ids].sum()), float((offset @ linear.T).norm(dim=1).max()))


def _displacement(
    joined: Mesh, target: Mesh, moving: torch.Tensor, reach: float, options: ShapeOptions, progress: Progress
) -> torch.Tensor:
    """(N, 3) float64 from the vertices of ``joined`` to the target, smooth."""
    index = SurfaceIndex(target.vertices.double().cpu().numpy(), target.faces.cpu().numpy())
    facing = normalize(target.face_normals(), dim=1)
    places = joined.vertices.double()
    offset = torch.zeros_like(places)
    rows = torch.nonzero(moving)[:, 0]
    if not len(rows):
        return offset
    for done in range(ROUNDS):
        progress(done, ROUNDS)
        now = places + offset
        normals = vertex_normals(now.float(), joined.faces)[rows]
        found, place = _nearest_facing(index, facing, now[rows], normals)
        step = place.to(places) - places[rows]
        good = found.to(rows.device) & (step.norm(dim=1) <= reach)
        if not bool(good.any()):
            raise Bundle3DError(
                f"Expected a reconstruction near the mesh, but it is farther away than {options.reach:.0%} of its size "
                "everywhere; start the reconstruction from this mesh, or raise the reach."
            )
        known = torch.zeros_like(places).index_copy(0, rows[good], step[good])
        trust = torch.zeros(len(places), device=places.device).index_fill(0, rows[good], 1.0)
        offset = harmonic_fill(joined.vertices, joined.faces, known, trust)
        # the last places stay: smoothing spreads the vertices, the surface is the target's
        for _ in range(options.smoothing if done < ROUNDS - 1 else 0):
            sums, degree = neighbour_sums(offset, joined.faces)
            offset = 0.5 * (offset + sums / degree.clamp(min=1)[:, None])
    progress(ROUNDS, ROUNDS)
    return offset


def _nearest_facing(
    index: SurfaceIndex, facing: torch.Tensor, points: torch.Tensor, normals: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether any place of the surface near ``points`` (Q, 3) faces their way, and the nearest such place (Q, 3)."""
    near = index.nearest(points.cpu().numpy())
    agree = (facing.cpu().numpy()[near.face] * normals.cpu().numpy()[:, None]).sum(-1) > AGREE
    distance = np.where(agree, near.distance, np.inf)
    best = distance.argmin(1)
    rows = np.arange(len(best))
    place = np.einsum("qc,qcd->qd", near.weights[rows, best], index.corners[near.face[rows, best]])
    return torch.from_numpy(agree.any(1)), torch.from_numpy(place)


def _bent(mesh: Mesh, joined: Mesh, vertices: torch.Tensor, moved: torch.Tensor, ids: torch.Tensor) -> Mesh:
    """``mesh`` with its ``moved`` places (P,) at ``vertices`` (P, 3)."""
    here = moved[ids][:, None]
    turn = rotation_between(joined.vertex_normals(), vertex_normals(vertices.float(), joined.faces))[ids]
    values = {"vertices": torch.where(here, vertices.float()[ids], mesh.vertices)}
    if mesh.normals is not None:
        values["normals"] = torch.where(here, rotated(mesh.normals, turn), mesh.normals)
    if mesh.tangents is not None:
        along = torch.where(here, rotated(mesh.tangents[:, :3], turn), mesh.tangents[:, :3])
        values["tangents"] = torch.cat((along, mesh.tangents[:, 3:]), dim=1)
    return mesh.with_(**values)
