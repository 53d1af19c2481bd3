"""Closed parametric solids: surfaces of revolution and extruded outlines, with normals that are sharp at creases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..meshes.mesh import Mesh

Array = np.ndarray
SEGMENTS = 64
CREASE_DEGREES = 40.0


def revolve(
    profile: Sequence[tuple[float, float]], segments: int = SEGMENTS, ring: bool = False
) -> tuple[Array, Array]:
    """Vertices (N, 3) and faces (M, 3) of ``profile`` (radius, height) turned about the up axis.

    The profile runs upward with the solid on its axis side, from the axis to the axis; with ``ring`` it is itself
    closed, counter-clockwise in (radius, height), and does not touch the axis. ``segments`` = 4 makes square sections
    with their sides facing front, left, back and right.
    """
    radius, height = np.asarray(profile, dtype=np.float64).T
    turn = 2.0 * math.pi * (np.arange(segments) + 0.5) / segments
    vertices = np.stack(
        (radius[:, None] * np.sin(turn), np.repeat(height[:, None], segments, 1), radius[:, None] * np.cos(turn)), -1
    ).reshape(-1, 3)
    rows = len(profile)
    row, column = np.meshgrid(np.arange(rows if ring else rows - 1), np.arange(segments), indexing="ij")
    a, b = row * segments + column, row * segments + (column + 1) % segments
    above = (row + 1) % rows * segments
    c, d = above + (column + 1) % segments, above + column
    faces = np.concatenate((np.stack((a, b, c), -1).reshape(-1, 3), np.stack((a, c, d), -1).reshape(-1, 3)))
    return _welded(vertices, faces)


def extrude(outline: Sequence[tuple[float, float]], depth: float) -> tuple[Array, Array]:
    """Vertices (N, 3) and faces (M, 3) of a counter-clockwise ``outline`` (x, y), made ``depth`` thick along z.

    The whole outline must be in sight of the origin.
    """
    flat = np.asarray(outline, dtype=np.float64)
    count = len(flat)
    front = np.concatenate((flat, np.full((count, 1), depth / 2.0)), 1)
    back = front * (1.0, 1.0, -1.0)
    centres = np.array(((0.0, 0.0, depth / 2.0), (0.0, 0.0, -depth / 2.0)))
    this, following = np.arange(count), (np.arange(count) + 1) % count
    fronts = np.stack((this, following, np.full(count, 2 * count)), -1)
    backs = np.stack((following + count, this + count, np.full(count, 2 * count + 1)), -1)
    sides = np.concatenate(
        (np.stack((this, this + count, following + count), -1), np.stack((this, following + count, following), -1))
    )
    return np.concatenate((front, back, centres)), np.concatenate((fronts, backs, sides))


def creased(vertices: Array, faces: Array, color: tuple[float, float, float], degrees: float = CREASE_DEGREES) -> Mesh:
    """The Mesh of welded geometry with linear vertex colour; faces meeting at less than ``degrees`` share normals.

    Every corner becomes a vertex of its own.
    """
    corners = vertices[faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-20)
    angle = _corner_angles(corners)
    flat = faces.reshape(-1)
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(len(vertices) + 1))
    normals = np.empty((len(flat), 3))
    for vertex in range(len(vertices)):
        corner = order[starts[vertex] : starts[vertex + 1]]
        face = corner // 3
        near = unit[face] @ unit[face].T > math.cos(math.radians(degrees))
        normals[corner] = near @ (unit[face] * angle[corner, None])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
    return Mesh(
        torch.from_numpy(corners.reshape(-1, 3)).float(),
        torch.arange(len(flat)).reshape(-1, 3),
        normals=torch.from_numpy(normals).float(),
        colors=torch.tensor(color).expand(len(flat), 3).clone(),
    )


def _corner_angles(corners: Array) -> Array:
    """(M * 3,) angles of triangles (M, 3, 3) at their corners: a fan's weight must not depend on how it is cut."""
    onward = np.roll(corners, -1, 1) - corners
    backward = np.roll(corners, 1, 1) - corners
    length = np.linalg.norm(onward, axis=-1) * np.linalg.norm(backward, axis=-1)
    return np.arccos(np.clip((onward * backward).sum(-1) / np.maximum(length, 1e-20), -1.0, 1.0)).reshape(-1)


def _welded(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """The same surface with one vertex per position and without the triangles that thereby vanish."""
    points, index = np.unique(np.round(vertices, 9), axis=0, return_inverse=True)
    faces = index.reshape(-1)[faces]
    a, b, c = faces.T
    return points, faces[(a != b) & (b != c) & (c != a)]
