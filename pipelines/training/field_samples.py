"""What a reconstruction model learns of an object: signed distances and colours at points in and around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..meshes.closest import SurfaceIndex
from ..meshes.mesh import Mesh
from ..meshes.rays import line_crossings, ray_directions
from ..metrics.geometry import sample_surface
from .whole_file import whole_file

Array = np.ndarray

# Shares of the points, and how far they lie off the surface (standard deviation); the rest fills the cube.
NEAR = ((0.45, 0.03), (0.25, 0.12))
HALF_CUBE = 1.05  # the reach of the grid that surfaces are extracted on
DIRECTIONS = 3  # an odd number of rays vote on what is inside: one may graze an edge


@dataclass(frozen=True)
class FieldSamples:
    """Points (P, 3) in the frame of the mesh, signed ``distance`` (P,), negative inside, and ``color`` (P, 3) of the
    nearest surface, linear; all float32."""

    points: Array
    distance: Array
    color: Array


def sample_field(mesh: Mesh, count: int, generator: np.random.Generator) -> FieldSamples:
    """``count`` points, most of them near the surface, with what is known there.

    ``mesh`` has vertex colours and consists of closed, outward-facing parts; where parts overlap, the inside of any is
    inside.
    """
    points = mesh.vertices.double().numpy()
    faces = mesh.faces.numpy()
    queries = _points_around(mesh, count, generator)
    face, weights = SurfaceIndex(points, faces).nearest(queries).best
    corners = faces[face]
    distance = np.linalg.norm(np.einsum("pk,pkd->pd", weights, points[corners]) - queries, axis=1)
    assert mesh.colors is not None
    color = np.einsum("pk,pkd->pd", weights, mesh.colors.double().numpy()[corners])
    signed = np.where(is_inside(points, faces, queries), -distance, distance)
    return FieldSamples(queries.astype(np.float32), signed.astype(np.float32), color.astype(np.float32))


def write_samples(path: Path, sample: Callable[[], FieldSamples]) -> None:
    """Writes (P, 7) float16 unless it is there: points, their distances, their colours."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = sample()
    rows = np.concatenate((samples.points, samples.distance[:, None], samples.color), axis=1).astype(np.float16)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, rows)


def is_inside(points: Array, faces: Array, queries: Array) -> Array:
    """Which ``queries`` (Q, 3) lie inside closed, outward-facing ``faces`` (M, 3) of ``points``, (Q,) bool.

    The faces ahead of a query count +1 where they face along the ray and -1 where they face against it: the sum is how
    many parts the query lies in.
    """
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    votes = np.zeros(len(queries), dtype=np.int64)
    for direction in ray_directions(DIRECTIONS):
        line, face, distance = line_crossings(points, faces, queries, direction)
        ahead = distance > 0.0
        side = np.sign(normals[face] @ direction)
        parts = np.bincount(line[ahead], weights=side[ahead], minlength=len(queries))
        votes += parts > 0.5
    return votes * 2 > DIRECTIONS


def _points_around(mesh: Mesh, count: int, generator: np.random.Generator) -> Array:
    near = [round(count * share) for share, _ in NEAR]
    surface, _ = sample_surface(mesh, sum(near), int(generator.integers(2**31)))
    spread = np.repeat([deviation for _, deviation in NEAR], near)
    around = surface.double().numpy() + generator.normal(size=(sum(near), 3)) * spread[:, None]
    cube = generator.uniform(-HALF_CUBE, HALF_CUBE, (count - sum(near), 3))
    return np.concatenate((around.clip(-HALF_CUBE, HALF_CUBE), cube))
