"""The dual grid of a triangle mesh: what ``dual_grid_mesh`` turns back into that surface.

The published encoder's data preparation is not part of the release; this is ours. A voxel is active where one of its
twelve edges is crossed; its dual vertex minimises the squared distances to the planes of the triangles that cross
(Ju et al. 2002, Dual Contouring of Hermite Data), drawn softly to the mean of the crossings and kept within the voxel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..progress import Progress, silent
from .dual_grid import QUAD_STEPS, DualGrid, check_voxels

PULL = 0.02  # of the mean against the planes, per crossing
CANDIDATES = 1 << 21  # pairs of triangle and lattice line tested at once; bounds the memory
SLACK = 1e-9  # in square voxels: a line through the common side of two triangles meets one of them at least
EDGE_ON = 1e-12  # projected area in square voxels below which a triangle is parallel to the lines


@dataclass(frozen=True)
class Crossings:
    """Where triangles cross lattice edges: ``voxel`` (K, 3) int64 that owns the edge, ``place`` (K,) float64 along its
    axis, in voxels, and ``face`` (K,) int64."""

    voxel: torch.Tensor
    place: torch.Tensor
    face: torch.Tensor


def dual_grid_of_mesh(
    vertices: torch.Tensor, faces: torch.Tensor, resolution: int, progress: Progress = silent
) -> DualGrid:
    """The dual grid of ``faces`` (M, 3) of ``vertices`` (N, 3), float, of which only what lies in [-0.5, 0.5]^3 counts.

    Voxels come in ascending order. A closed surface within the cube comes back closed; a boundary recedes by up to a
    voxel; sheets closer than a voxel share vertices. Split weights are one. ``progress`` may cancel between chunks.
    """
    check_voxels(faces.new_zeros((0, 3)), resolution)
    corners = (vertices.detach().double() + 0.5) * resolution
    a, b, c = (corners.index_select(0, faces[:, i]) for i in range(3))
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    found = [_crossings(torch.stack((a, b, c), dim=1), axis, resolution, progress) for axis in range(3)]
    keys = torch.cat([_key(_around(crossing.voxel, axis), resolution) for axis, crossing in enumerate(found)])
    active, inverse = torch.unique(keys, return_inverse=True)
    coords = torch.stack((active // resolution**2, active // resolution % resolution, active % resolution), dim=1)
    fit = _PlaneFit(active.shape[0], corners)
    edges = torch.zeros(active.shape[0], 3, dtype=torch.bool, device=vertices.device)
    start = 0
    for axis, crossing in enumerate(found):
        rows = inverse[start : start + 4 * crossing.face.shape[0]].reshape(-1, 4)
        start += rows.numel()
        edges[rows[:, 0], axis] = True
        point = (crossing.voxel + 1).double()
        point[:, axis] = crossing.place
        normal = normals.index_select(0, crossing.face)
        for corner in range(4):
            fit.add(rows[:, corner], point - coords.index_select(0, rows[:, corner]), normal)
    offsets = fit.solve().float()
    weights = torch.ones(active.shape[0], device=vertices.device)
    return DualGrid(coords.int(), offsets, edges, weights, resolution)


class _PlaneFit:
    """Least squares of one point per voxel to the planes through its crossings, in voxels from its corner."""

    def __init__(self, count: int, like: torch.Tensor) -> None:
        self.points, self.planes = like.new_zeros(count, 3), like.new_zeros(count, 3)
        self.matrix, self.count = like.new_zeros(count, 9), like.new_zeros(count)

    def add(self, voxel: torch.Tensor, point: torch.Tensor, normal: torch.Tensor) -> None:
        """Count crossings at ``point`` (K, 3) with ``normal`` (K, 3) for ``voxel`` (K,)."""
        self.points.index_add_(0, voxel, point)
        self.planes.index_add_(0, voxel, normal * (normal * point).sum(1, keepdim=True))
        self.matrix.index_add_(0, voxel, (normal[:, :, None] * normal[:, None]).reshape(-1, 9))
        self.count.index_add_(0, voxel, torch.ones_like(point[:, 0]))

    def solve(self) -> torch.Tensor:
        """(V, 3) points within their voxels."""
        mean = self.points / self.count[:, None]
        matrix = self.matrix.reshape(-1, 3, 3)
        right = self.planes - (matrix @ mean[..., None])[..., 0]
        pull = torch.eye(3).to(matrix) * (PULL * self.count)[:, None, None]
        return (mean + torch.linalg.solve(matrix + pull, right)).clamp(0.0, 1.0)


def _around(voxel: torch.Tensor, axis: int) -> torch.Tensor:
    """(K, 4, 3) the voxels around the edges that ``voxel`` (K, 3) own along an axis."""
    return voxel[:, None] + torch.tensor(QUAD_STEPS[axis]).to(voxel)


def _key(voxel: torch.Tensor, resolution: int) -> torch.Tensor:
    x, y, z = voxel.reshape(-1, 3).unbind(1)
    return (x * resolution + y) * resolution + z


def _crossings(corners: torch.Tensor, axis: int, resolution: int, progress: Progress) -> Crossings:
    """All crossings of the triangles (M, 3, 3), in voxels, with lattice edges along ``axis`` that have four voxels."""
    one, two = (other for other in range(3) if other != axis)
    flat = corners[..., [one, two]]
    low = flat.amin(1).ceil().clamp(min=1).long()
    high = flat.amax(1).floor().clamp(max=resolution - 1).long()
    spans = (high - low + 1).clamp(min=0)
    voxels, places, owners = [], [], []
    for face, line in _candidates(low, spans, progress):
        a, b, c = flat.index_select(0, face).unbind(1)
        at = line.to(flat)
        areas = torch.stack((_area(b, c, at), _area(c, a, at), _area(a, b, at)), dim=1)
        total = _area(a, b, c)
        inside = (areas * total.sign()[:, None] >= -SLACK).all(1) & (total.abs() > EDGE_ON)
        face, line, areas = face[inside], line[inside], areas[inside]
        weights = areas / areas.sum(1, keepdim=True)
        place = (weights * corners.index_select(0, face)[..., axis]).sum(1)
        voxel = torch.empty(face.shape[0], 3, dtype=torch.int64, device=face.device)
        voxel[:, axis] = place.floor().long()
        voxel[:, one], voxel[:, two] = line[:, 0] - 1, line[:, 1] - 1
        within = (place >= 0) & (place < resolution)
        voxels.append(voxel[within])
        places.append(place[within])
        owners.append(face[within])
    if not voxels:
        none = torch.zeros(0, dtype=torch.int64, device=corners.device)
        return Crossings(none.reshape(0, 3), none.to(corners), none)
    return Crossings(torch.cat(voxels), torch.cat(places), torch.cat(owners))


def _candidates(
    low: torch.Tensor, spans: torch.Tensor, progress: Progress
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Chunks of pairs: triangle (K,) and lattice line (K, 2) within its box, of ``spans`` (M, 2) lines from ``low``."""
    counts = spans.prod(1)
    ends = counts.cumsum(0)
    count, start = counts.shape[0], 0
    while start < count:
        done = int(ends[start - 1]) if start else 0
        stop = max(int(torch.searchsorted(ends, done + CANDIDATES, right=True)), start + 1)
        face = torch.arange(start, stop, device=low.device).repeat_interleave(counts[start:stop])
        number = torch.arange(face.shape[0], device=low.device) + done - (ends - counts).index_select(0, face)
        width = spans[:, 1].index_select(0, face)
        line = torch.stack((number // width, number % width), dim=1) + low.index_select(0, face)
        yield face, line
        start = stop
        progress(start, count)


def _area(p: torch.Tensor, q: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
