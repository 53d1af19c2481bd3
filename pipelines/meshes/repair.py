"""From any triangle soup to a closed, manifold mesh that faces outward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from .holes import fill_holes
from .inner_shells import inner_parts
from .mesh import Mesh
from .nonmanifold import split_nonmanifold
from .orientation import consistent_flips, inward_parts
from .surface import Array, Surface, mesh_of, surface_of
from .topology import components

STEPS = 7


@dataclass(frozen=True)
class RepairOptions:
    """What ``repair`` does; lengths are shares of the mesh's box diagonal.

    ``weld``: vertices closer than this become one. ``debris``: connected parts with a smaller box diagonal go; 0 keeps
    all. ``largest_hole``: loops up to this size are closed; 0 closes none, 1 or more all. ``inner_shells``: drop parts
    that lie inside others. ``orient``: make faces agree and look outward.
    """

    weld: float = 1e-6
    debris: float = 0.01
    largest_hole: float = 1.0
    inner_shells: bool = True
    orient: bool = True


def repair(mesh: Mesh, options: RepairOptions = RepairOptions(), progress: Progress = silent) -> Mesh:
    """Weld, drop collapsed and duplicate faces, orient, split non-manifold edges and points, drop debris, close holes,
    drop inner shells; in this order.

    Where geometry stays, uv, colours, normals and materials stay; filled holes borrow those of their rim. The result is
    manifold; it is watertight if all holes may be closed and no part is one-sided. An empty mesh comes back as it is.
    Raises Bundle3DError for options out of range.
    """
    _check(options)
    if mesh.faces.shape[0] == 0:
        return mesh
    low, high = mesh.bounds
    diagonal = float((high - low).double().norm())
    surface = _drop_duplicates(surface_of(mesh, options.weld * diagonal))
    progress(1, STEPS)
    if options.orient:
        surface = orient(surface)
    progress(2, STEPS)
    surface = split_nonmanifold(surface)
    progress(3, STEPS)
    surface = drop_debris(surface, options.debris * diagonal)
    progress(4, STEPS)
    if options.largest_hole > 0:
        limit = np.inf if options.largest_hole >= 1 else options.largest_hole * diagonal
        surface = fill_holes(surface, limit)
        progress(5, STEPS)
        if options.orient:
            surface = orient(surface)
    progress(6, STEPS)
    if options.inner_shells:
        labels = _labels(surface)
        inner = inner_parts(surface.points, surface.faces, labels, Stage(progress, 6, STEPS, STEPS))
        surface = surface.keep(~inner[labels]) if inner.any() else surface
    progress(STEPS, STEPS)
    return mesh_of(surface, mesh)


def orient(surface: Surface) -> Surface:
    """Turn faces so that neighbours agree, then whole parts so that they look outward."""
    flips, parts, orientable = consistent_flips(surface.tensor)
    surface = surface.flip(flips)
    inward = inward_parts(surface.points, surface.faces, parts) & orientable
    return surface.flip(inward[parts])


def drop_debris(surface: Surface, smallest: float) -> Surface:
    """Drop connected parts whose box diagonal is below ``smallest``, but never the largest part."""
    if len(surface.faces) == 0 or smallest <= 0:
        return surface
    labels = _labels(surface)
    corners = surface.points[surface.faces]
    count = int(labels.max()) + 1
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, labels, corners.min(1))
    np.maximum.at(high, labels, corners.max(1))
    size = np.linalg.norm(high - low, axis=1)
    keep = size >= min(smallest, size.max())
    return surface if keep.all() else surface.keep(keep[labels])


def _drop_duplicates(surface: Surface) -> Surface:
    """Drop faces that name a point twice, and all but the first of those over the same three points."""
    faces = surface.faces
    solid = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    surface = surface.keep(solid)
    if len(surface.faces) == 0:
        return surface
    ordered = np.sort(surface.faces, axis=1)
    _, first = np.unique(ordered, axis=0, return_index=True)
    if len(first) == len(ordered):
        return surface
    keep = np.zeros(len(ordered), dtype=bool)
    keep[first] = True
    return surface.keep(keep)


def _labels(surface: Surface) -> Array:
    return components(surface.tensor, len(surface.points)).numpy()


def _check(options: RepairOptions) -> None:
    for name in ("weld", "debris", "largest_hole"):
        value = getattr(options, name)
        if not (0.0 <= value <= 1e6):
            raise Bundle3DError(
                f"Expected the repair option {name} to be 0 or more, but got {value}; use a share of the size."
            )
