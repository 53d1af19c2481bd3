"""Distances through space to places of a surface that do not face the other way."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

Array = np.ndarray

OPPOSITE = -0.5  # cosine between normals below which two places lie on different sides of a thin wall
MOST_CELLS = 128  # along a side of the box around the samples


class FacingSamples:
    """Answers how far the nearest of S samples is that does not face the other way, up to a distance of ``reach``.

    ``points`` (S, 3) float64 with unit ``normals`` (S, 3); zero normals face every way.
    """

    def __init__(self, points: Array, normals: Array, reach: float) -> None:
        self.reach = reach
        self.cells = Cells(points, reach)
        # Samples of one octant agree with each other, so that the nearest of each octant is enough to look at.
        octant = (normals >= 0.0) @ np.array((1, 2, 4))
        members = [octant == number for number in np.unique(octant)]
        self.groups = [(cKDTree(points[member]), normals[member]) for member in members]

    def distance(self, points: Array, normals: Array) -> Array:
        """(P,) distances of ``points`` (P, 3) with unit ``normals`` (P, 3); infinite from ``reach`` on."""
        nearest = np.full(len(points), np.inf)
        near = np.flatnonzero(self.cells.near(points))
        for tree, facing in self.groups:
            distance, sample = tree.query(points[near], distance_upper_bound=self.reach)
            hit = np.flatnonzero(np.isfinite(distance))
            agrees = np.einsum("ij,ij->i", facing[sample[hit]], normals[near[hit]]) > OPPOSITE
            hit = hit[agrees]
            nearest[near[hit]] = np.minimum(nearest[near[hit]], distance[hit])
        return nearest


class Cells:
    """A coarse grid that tells which places may lie within ``reach`` of some of ``points`` (S, 3)."""

    def __init__(self, points: Array, reach: float) -> None:
        low, high = points.min(0), points.max(0)
        self.size = max(reach * 1.001, float((high - low).max()) / MOST_CELLS)
        self.low = low - 2.0 * self.size
        self.shape = np.floor((high - self.low) / self.size).astype(np.int64) + 3
        grid = np.zeros(self.shape, dtype=bool)
        grid[tuple(np.floor((points - self.low) / self.size).astype(np.int64).T)] = True
        for axis in range(3):  # what wraps around is empty
            grid = grid | np.roll(grid, 1, axis) | np.roll(grid, -1, axis)
        self.grid = grid

    def near(self, points: Array) -> Array:
        """(P,) bool: false only where no sample lies within ``reach`` of a point."""
        cell = np.floor((points - self.low) / self.size).astype(np.int64)
        within = ((cell >= 0) & (cell < self.shape)).all(1)
        found = np.zeros(len(points), dtype=bool)
        found[within] = self.grid[tuple(cell[within].T)]
        return found
