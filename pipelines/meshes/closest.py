"""Nearest points on a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

Array = np.ndarray

CHUNK = 1 << 14  # queries answered at once; bounds the memory


@dataclass(frozen=True)
class Nearest:
    """For Q queries K candidates each, in no order and with repetitions: ``face`` (Q, K), ``weights`` (Q, K, 3) of the
    candidate's closest point, and its ``distance`` (Q, K)."""

    face: Array
    weights: Array
    distance: Array

    @property
    def best(self) -> tuple[Array, Array]:
        """Face (Q,) and barycentric weights (Q, 3) of the closest candidate."""
        first = self.distance.argmin(1)
        rows = np.arange(len(first))
        return self.face[rows, first], self.weights[rows, first]


class SurfaceIndex:
    """Answers nearest-point queries for ``faces`` (M, 3) of ``points`` (P, 3).

    Candidates come from samples spread over the faces, about four per face and more on large ones; the distance to each
    candidate face is exact. A face much thinner than its neighbours can be missed when others are as near.
    """

    def __init__(self, points: Array, faces: Array) -> None:
        self.corners = points[faces].astype(np.float64)
        samples, self.owner = _samples(self.corners)
        self.tree = cKDTree(samples)

    def nearest(self, queries: Array, candidates: int = 8) -> Nearest:
        """The closest point of ``queries`` (Q, 3) on each of up to ``candidates`` nearby faces."""
        count = min(candidates, len(self.owner))
        parts = []
        for start in range(0, len(queries), CHUNK):
            chunk = queries[start : start + CHUNK]
            hits = self.tree.query(chunk, k=np.arange(1, count + 1))[1]
            face = self.owner[hits]
            weights = closest_weights(self.corners[face], chunk[:, None])
            place = np.einsum("qkc,qkcd->qkd", weights, self.corners[face])
            parts.append((face, weights, np.linalg.norm(place - chunk[:, None], axis=-1)))
        face, weights, distance = (np.concatenate(values) for values in zip(*parts))
        return Nearest(face, weights, distance)


def _samples(corners: Array) -> tuple[Array, Array]:
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    wanted = np.ceil(areas / max(areas.mean(), 1e-300) * 3).astype(np.int64)
    counts = np.clip(wanted, 1, 256)
    owner = np.repeat(np.arange(len(corners)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    # a low-discrepancy sequence per face that starts near the centroid
    u = (1 / 3 + step * 0.7548776662466927) % 1.0
    v = (1 / 3 + step * 0.5698402909980532) % 1.0
    folded = u + v > 1
    u, v = np.where(folded, 1 - u, u), np.where(folded, 1 - v, v)
    a, b, c = (corners[owner, i] for i in range(3))
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), owner


def closest_weights(corners: Array, points: Array) -> Array:
    """Barycentric weights (..., 3) of the point of each triangle (..., 3, 3) that is closest to ``points`` (..., 3)."""
    a, b, c = (corners[..., i, :] for i in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = d00 * d11 - d01 * d01
    safe = np.where(area > 0, area, 1.0)
    v = np.where(area > 0, (d11 * d20 - d01 * d21) / safe, -1.0)
    w = np.where(area > 0, (d00 * d21 - d01 * d20) / safe, -1.0)
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    best = np.stack((1 - v - w, v, w), axis=-1)
    best_distance = np.where(inside, 0.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        start, run = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        length = (run * run).sum(-1)
        share = ((points - start) * run).sum(-1) / np.where(length > 0, length, 1.0)
        share = np.clip(share, 0.0, 1.0)
        gap = points - start - share[..., None] * run
        distance = (gap * gap).sum(-1)
        nearer = ~inside & (distance < best_distance)
        weights = np.zeros_like(best)
        weights[..., i], weights[..., j] = 1 - share, share
        best = np.where(nearer[..., None], weights, best)
        best_distance = np.where(nearer, distance, best_distance)
    return best
