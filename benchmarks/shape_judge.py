"""Which of the procedural shapes a mesh is: the one that fits it best.

Every class in every proportion, and every top on every base, is stretched to the bounding box of the mesh, as a class
has no fixed proportions. The nearest are then fitted part by part: iterated closest points, stretched and moved along
the axes. Distances are Chamfer distances of points with their normals, so that edges and curvature count.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.rays import line_crossings, ray_directions
from bundle3d.pipelines.metrics.geometry import sample_surface
from bundle3d.pipelines.training.shapes import BASES, CLASSES, TOPS, Part, Subject, build
from scipy.spatial import cKDTree

Array = np.ndarray
Shapes = tuple[str, ...]

POINTS = 6000  # of each surface; dense, so that the spacing of points hardly adds to distances
QUERIES = 1500  # of them, whose nearest neighbours are looked up
NORMAL_WEIGHT = 0.25  # length that a right angle's worth of turned normal counts for, the box's longest side being 2
FARTHEST = 0.5  # distances count no more than this: a stray blob must not decide
FINALISTS = 8
ROUNDS = 6
MOST_STRETCH = 1.25  # of a part beyond the stretch to the box
PART_COLORS = ("red", "blue")  # of top and base, to tell their faces apart


@dataclass(frozen=True)
class Template:
    """A shape as points (P, 3), longest side 2, with unit normals (P, 3) and the part (P,) that each is of."""

    shapes: Shapes
    proportion: str
    points: Array
    normals: Array
    part: Array


@dataclass(frozen=True)
class Fit:
    """A template laid onto a mesh: its ``points`` (P, 3) in the mesh's frame, and how far the two are apart, in units
    of half the longest side of the mesh."""

    template: Template
    points: Array
    distance: float

    def part_of(self, points: Array) -> Array:
        """The part (Q,) whose surface is nearest to each of ``points`` (Q, 3)."""
        _, nearest = cKDTree(self.points).query(points)
        return self.template.part[nearest]


def recognise(mesh: Mesh) -> list[Fit]:
    """The templates that come nearest to ``mesh``, best first. Raises Bundle3DError for a mesh without area."""
    points, normals, centre, scale = _sampled(mesh)
    low, high = points.min(0), points.max(0)
    coarse = [_distance(points, normals, *_stretched(template, low, high)[:2]) for template in bank()]
    nearest = np.argsort(coarse)[:FINALISTS]
    fits = [_fit(bank()[index], points, normals) for index in nearest]
    fits.sort(key=lambda fit: fit.distance)
    return [Fit(fit.template, fit.points / scale + centre, fit.distance) for fit in fits]


def fit_shapes(mesh: Mesh, shapes: Shapes) -> Fit:
    """The best fit to ``mesh`` of the templates of these ``shapes``: one class, or a top and a base."""
    points, normals, centre, scale = _sampled(mesh)
    fits = [_fit(template, points, normals) for template in bank() if template.shapes == shapes]
    best = min(fits, key=lambda fit: fit.distance)
    return Fit(best.template, best.points / scale + centre, best.distance)


@lru_cache(maxsize=1)
def bank() -> tuple[Template, ...]:
    """All that the procedural subjects can be."""
    singles = [_template((shape,), proportion) for shape, proportions in CLASSES.items() for proportion in proportions]
    return (*singles, *(_template((top, base)) for top in TOPS for base in BASES))


def _template(shapes: Shapes, proportion: str = "") -> Template:
    parts = tuple(Part(shape, color, proportion) for shape, color in zip(shapes, PART_COLORS))
    mesh = build(Subject(parts))
    assert mesh.colors is not None
    of_base = (mesh.colors[:, 2] > mesh.colors[:, 0])[mesh.faces[:, 0]]
    pieces = [Mesh(mesh.vertices, faces) for faces in (mesh.faces[~of_base], mesh.faces[of_base]) if len(faces)]
    areas = np.array([float(piece.face_normals().norm(dim=-1).sum()) for piece in pieces])
    counts = np.maximum(1, np.round(POINTS * areas / areas.sum())).astype(int)
    points, normals, part = [], [], []
    for index, (piece, count) in enumerate(zip(pieces, counts)):
        place, direction = (values.double().numpy() for values in sample_surface(piece, int(count)))
        seen = np.ones(len(place), dtype=bool)
        for other in pieces[:index] + pieces[index + 1 :]:
            seen &= ~_inside(place, other)
        points.append(place[seen])
        normals.append(direction[seen])
        part.append(np.full(int(seen.sum()), index))
    low, high = (values.double().numpy() for values in mesh.bounds)
    place = (np.concatenate(points) - (low + high) / 2.0) * (2.0 / (high - low).max())
    shuffled = np.random.default_rng(0).permutation(len(place))  # the first of them stand for all
    return Template(
        shapes, proportion, place[shuffled], np.concatenate(normals)[shuffled], np.concatenate(part)[shuffled]
    )


def _inside(points: Array, solid: Mesh) -> Array:
    """Which of ``points`` (P, 3) lie inside a closed mesh: a ray from there leaves it an odd number of times."""
    line, _, distance = line_crossings(
        solid.vertices.double().numpy(), solid.faces.numpy(), points, ray_directions(1)[0]
    )
    return np.bincount(line[distance > 0.0], minlength=len(points)) % 2 == 1


def _sampled(mesh: Mesh) -> tuple[Array, Array, Array, float]:
    """Points (P, 3), the mesh's box centred and its longest side 2, with normals (P, 3), centre (3,) and scale."""
    points, normals = (values.double().numpy() for values in sample_surface(mesh, POINTS))
    low, high = (values.double().cpu().numpy() for values in mesh.bounds)
    centre, scale = (low + high) / 2.0, 2.0 / float((high - low).max())
    return (points - centre) * scale, normals, centre, scale


def _stretched(template: Template, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Points and normals of a template in the box from ``low`` to ``high``, and its stretch (3,)."""
    below, above = template.points.min(0), template.points.max(0)
    stretch = (high - low) / (above - below)
    return (template.points - below) * stretch + low, _unit(template.normals / stretch), stretch


def _fit(template: Template, points: Array, normals: Array) -> Fit:
    start, start_normals, _ = _stretched(template, points.min(0), points.max(0))
    goal = _features(points, normals)
    tree = cKDTree(goal)
    place, direction = start, start_normals
    parts = [template.part == index for index in range(len(template.shapes))]
    for _ in range(ROUNDS):
        features = _features(place, direction)
        _, there = tree.query(features[:QUERIES])
        _, back = cKDTree(features).query(goal[:QUERIES])
        place, direction = start.copy(), start_normals.copy()
        for inside in parts:
            asked, returned = inside[:QUERIES], inside[back]
            source = np.concatenate((start[:QUERIES][asked], start[back[returned]]))
            aim = np.concatenate((points[there[asked]], points[:QUERIES][returned]))
            stretch, shift = _along_axes(source, aim)
            place[inside] = start[inside] * stretch + shift
            direction[inside] = _unit(start_normals[inside] / stretch)
    return Fit(template, place, _distance(points, normals, place, direction))


def _along_axes(source: Array, goal: Array) -> tuple[Array, Array]:
    """Stretch (3,) within ``MOST_STRETCH`` and shift (3,) that bring ``source`` (N, 3) nearest to ``goal`` (N, 3)."""
    mean, aim = source.mean(0), goal.mean(0)
    centred = source - mean
    stretch = (centred * (goal - aim)).sum(0) / np.maximum((centred * centred).sum(0), 1e-12)
    stretch = stretch.clip(1.0 / MOST_STRETCH, MOST_STRETCH)
    return stretch, aim - stretch * mean


def _distance(points: Array, normals: Array, others: Array, other_normals: Array) -> float:
    first, second = _features(points, normals), _features(others, other_normals)
    there, _ = cKDTree(second).query(first[:QUERIES], distance_upper_bound=FARTHEST)
    back, _ = cKDTree(first).query(second[:QUERIES], distance_upper_bound=FARTHEST)
    return float(np.minimum(there, FARTHEST).mean() + np.minimum(back, FARTHEST).mean())


def _features(points: Array, normals: Array) -> Array:
    return np.concatenate((points, NORMAL_WEIGHT * normals), axis=1)


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
