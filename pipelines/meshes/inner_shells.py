"""Finding of the parts of a mesh that lie hidden inside other parts."""

from __future__ import annotations

import numpy as np

from ..progress import Progress, silent
from .rays import line_crossings, ray_directions
from .surface import Array

SAMPLES = 12
DIRECTIONS = 7


def inner_parts(points: Array, faces: Array, labels: Array, progress: Progress = silent) -> Array:
    """(C,) bool, the parts (labels (M,) 0..C - 1) of ``faces`` (M, 3) that lie completely inside another part.

    A part does if all of its sampled points are inside the same other part by ray parity (majority of fourteen rays).
    Closed outer parts give an exact answer; open ones count where most rays agree. Source: specs/field.md 4.4-C.
    """
    count = int(labels.max()) + 1 if len(labels) else 0
    inner = np.zeros(count, dtype=bool)
    if count < 2:
        return inner
    corners = points[faces]
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, labels, corners.min(1))
    np.maximum.at(high, labels, corners.max(1))
    slack = 1e-9 * (high - low).max()
    within = (low[:, None] >= low[None] - slack).all(2) & (high[:, None] <= high[None] + slack).all(2)
    np.fill_diagonal(within, False)
    candidates = within.any(1)
    if not candidates.any():
        return inner
    sample_part, origins = _sample(corners, labels, candidates)
    hosts = within.any(0)[labels]
    host_faces, host_labels = faces[hosts], labels[hosts]
    odd_rays = np.zeros((len(origins), count), dtype=np.int64)
    for number, direction in enumerate(ray_directions(DIRECTIONS)):
        progress(number, DIRECTIONS)
        line, face, distance = line_crossings(points, host_faces, origins, direction)
        for ahead in (True, False):
            side = (distance > 0) == ahead
            odd_rays += _tally(line[side], host_labels[face[side]], odd_rays.shape) % 2
    inside = odd_rays > DIRECTIONS
    everywhere = np.ones((count, count), dtype=bool)
    np.logical_and.at(everywhere, sample_part, inside)
    everywhere[~candidates] = False
    return (everywhere & within).any(1)


def _sample(corners: Array, labels: Array, candidates: Array) -> tuple[Array, Array]:
    """Part (S,) and place (S, 3) of points on the candidate parts: the outermost corners and some centroids."""
    parts, places = [], []
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(candidates) + 1))
    for part in np.nonzero(candidates)[0]:
        own = corners[order[bounds[part] : bounds[part + 1]]]
        flat = own.reshape(-1, 3)
        extreme = flat[np.concatenate((flat.argmin(0), flat.argmax(0)))]
        middle = own[np.linspace(0, len(own) - 1, SAMPLES - 6).astype(np.int64)].mean(1)
        places.append(np.concatenate((extreme, middle)))
        parts.append(np.full(SAMPLES, part))
    return np.concatenate(parts), np.concatenate(places)


def _tally(rows: Array, columns: Array, shape: tuple[int, ...]) -> Array:
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
