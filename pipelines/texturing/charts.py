"""Cutting of a surface into charts that an orthographic projection along one axis unfolds without overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..meshes.topology import face_neighbours, label_components, unique_keys
from ..progress import Progress, silent
from .shelves import shelf_pack
from .texel_map import uv_overlap

Array = np.ndarray

AXES = np.concatenate((np.eye(3), -np.eye(3)))
# Right-handed image axes (s, t) of every projection direction: s x t points along it, so charts are never mirrored.
SIDEWAYS = np.array([[0, 0, -1], [1, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0], [-1, 0, 0]], dtype=np.float64)
UPWARD = np.cross(AXES, SIDEWAYS)
LAYERS = 64  # of one chart above each other that are told apart
STEEPEST = 0.25  # smallest cosine between a face and its projection; a quarter of the texels are left at worst


@dataclass(frozen=True)
class Charts:
    """A mesh cut along its charts and flattened.

    ``points`` (P, 2) float64 plane coordinates in mesh units (x right, y down), each chart around its own origin;
    ``faces`` (M, 3) int64 into the points; ``point_chart`` (P,), ``face_chart`` (M,) and ``source_vertex`` (P,) int64.
    """

    points: Array
    faces: Array
    point_chart: Array
    face_chart: Array
    source_vertex: Array

    @property
    def count(self) -> int:
        """Number of charts."""
        return int(self.point_chart.max()) + 1 if len(self.point_chart) else 0


def box_charts(
    vertices: torch.Tensor, faces: torch.Tensor, welded: torch.Tensor, texels: int, progress: Progress = silent
) -> Charts:
    """Cut ``faces`` (M, 3) of ``vertices`` (N, 3) into charts along the six axes.

    Each face takes the axis it faces most, smoothed among neighbours; connected faces of one axis make a chart; parts
    of a chart that hide each other in the projection become charts of their own. ``welded`` (M, 3) are the same faces
    by place, which tell the neighbours. Overlaps narrower than a texel are ignored, where the whole surface fills
    ``texels`` x ``texels``. Source: specs/kernels.md section 5.
    """
    corners = vertices.detach().cpu().numpy().astype(np.float64)[faces.cpu().numpy()]
    normals, areas = _normals(corners)
    neighbours = face_neighbours(welded.cpu()).numpy()
    labels = _merge_small(_axis_labels(normals, areas, neighbours), normals, areas, neighbours)
    chart = _connected(labels, neighbours)
    texel = np.sqrt(areas.sum() / max(texels, 1) ** 2)
    height = (corners.mean(1) * AXES[labels]).sum(1)
    chart = _separated(vertices, faces, labels, chart, height, texel, neighbours, progress)
    return _flatten(vertices, faces, labels, chart)


def _separated(
    vertices: torch.Tensor,
    faces: torch.Tensor,
    labels: Array,
    chart: Array,
    height: Array,
    texel: float,
    neighbours: Array,
    progress: Progress,
) -> Array:
    """(M,) charts, split until no face hides another of its chart; ``height`` (M,) grows toward the viewer."""
    suspects = np.arange(len(chart))
    for layer in range(LAYERS):
        progress(layer, LAYERS)
        _, own = np.unique(chart[suspects], return_inverse=True)
        part = _flatten(vertices, faces[torch.from_numpy(suspects).to(faces.device)], labels[suspects], own)
        hidden = suspects[_hidden_faces(part, height[suspects], texel)]
        if len(hidden) == 0:
            return chart
        suspects = np.nonzero(np.isin(chart, chart[hidden]))[0]
        behind = np.zeros_like(chart)
        behind[hidden] = 1
        chart = _connected(chart * 2 + behind, neighbours)
    # beyond that many layers every face goes alone, which ends it
    chart[suspects] = chart.max() + 1 + np.arange(len(suspects))
    return np.unique(chart, return_inverse=True)[1]


def _normals(corners: Array) -> tuple[Array, Array]:
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1)
    flat = length <= 1e-300
    normals = cross / np.where(flat, 1.0, length)[:, None]
    normals[flat] = AXES[1]
    return normals, length / 2


def _axis_labels(normals: Array, areas: Array, neighbours: Array, rounds: int = 12) -> Array:
    """(M,) index into AXES, smoothed by a vote of the neighbours."""
    faces_axis = normals @ AXES.T
    allowed = faces_axis >= STEEPEST
    known = (neighbours >= 0)[..., None]
    smooth = normals * areas[:, None]
    for _ in range(4):
        smooth = smooth + (smooth[neighbours] * known).sum(1)
    smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-300)
    data = np.where(allowed, 0.5 * (faces_axis + smooth @ AXES.T), -np.inf)
    labels = data.argmax(1)
    choice = np.arange(len(AXES))
    for _ in range(rounds):
        votes = ((labels[neighbours][..., None] == choice) & known).sum(1)
        update = (data + 0.3 * votes).argmax(1)
        if np.array_equal(update, labels):
            break
        labels = update
    return labels


def _merge_small(labels: Array, normals: Array, areas: Array, neighbours: Array, rounds: int = 4) -> Array:
    """Give charts of less than a thousandth of the surface to the neighbouring axis with the longest common border."""
    faces_axis = normals @ AXES.T
    row = np.arange(len(labels))
    for _ in range(rounds):
        chart = _connected(labels, neighbours)
        size = np.bincount(chart, areas)
        small = size[chart] < 1e-3 * areas.sum()
        face, edge = np.nonzero((neighbours >= 0) & small[:, None])
        other = neighbours[face, edge]
        outside = chart[face] != chart[other]
        face, other = face[outside], other[outside]
        if len(face) == 0:
            break
        votes = np.zeros((len(size), len(AXES)))
        np.add.at(votes, (chart[face], labels[other]), 1.0)
        worst = np.full((len(size), len(AXES)), np.inf)
        np.minimum.at(worst, chart[small], faces_axis[small])
        target = np.where(worst >= STEEPEST / 2, votes, 0.0)
        # a small chart may only join a larger one, otherwise two of them would swap for ever
        best = target.argmax(1)
        movable = target.max(1) > 0
        change = small & movable[chart]
        if not change.any():
            break
        labels = np.where(change, best[chart], labels)
        labels = np.where(faces_axis[row, labels] >= STEEPEST / 2, labels, faces_axis.argmax(1))
    return labels


def _connected(labels: Array, neighbours: Array) -> Array:
    """(M,) charts: faces of one label that are joined by edges."""
    face, edge = np.nonzero(neighbours >= 0)
    other = neighbours[face, edge]
    same = (labels[face] == labels[other]) & (face < other)
    pairs = torch.from_numpy(np.stack((face[same], other[same]), axis=1).astype(np.int64))
    return label_components(pairs, len(labels)).numpy()


def _flatten(vertices: torch.Tensor, faces: torch.Tensor, labels: Array, chart: Array) -> Charts:
    source = faces.cpu().numpy()
    count = int(chart.max()) + 1 if len(chart) else 0
    keys = source * count + chart[:, None]
    values, inverse = unique_keys(torch.from_numpy(keys.reshape(-1)))
    cut = inverse.numpy().reshape(-1, 3)
    source_vertex, point_chart = values.numpy() // max(count, 1), values.numpy() % max(count, 1)
    axis = np.zeros(count, dtype=np.int64)
    axis[chart] = labels
    positions = vertices.detach().cpu().numpy().astype(np.float64)[source_vertex]
    x = (positions * SIDEWAYS[axis[point_chart]]).sum(1)
    y = -(positions * UPWARD[axis[point_chart]]).sum(1)
    points = np.stack((x, y), axis=1)
    return Charts(points, cut, point_chart, chart, source_vertex)


def _hidden_faces(charts: Charts, height: Array, texel: float) -> Array:
    """(M,) bool, faces that lie behind another face of their chart; ``height`` (M,) grows toward the viewer."""
    uv, resolution = shelf_layout(charts, texel)
    pairs = uv_overlap(torch.from_numpy(uv), torch.from_numpy(charts.faces), resolution).pairs.numpy()
    hidden = np.zeros(len(charts.faces), dtype=bool)
    hidden[np.where(height[pairs[:, 0]] < height[pairs[:, 1]], pairs[:, 0], pairs[:, 1])] = True
    return hidden


def shelf_layout(charts: Charts, texel: float) -> tuple[Array, int]:
    """Charts in rows without rotation: uv (P, 2) in the unit square and the resolution that gives texels this size."""
    low, high = chart_boxes(charts.points, charts.point_chart, charts.count)
    size = np.ceil((high - low) / texel).astype(np.int64) + 2
    origin, width, height = shelf_pack(size)
    extent = max(width, height)
    resolution = min(extent, 8192)
    local = (charts.points - low[charts.point_chart]) / texel + 1
    return (local + origin[charts.point_chart]) / extent, resolution


def chart_boxes(points: Array, point_chart: Array, count: int) -> tuple[Array, Array]:
    """Smallest and largest plane coordinates (C, 2) of every chart."""
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, point_chart, points)
    np.maximum.at(high, point_chart, points)
    return low, high
