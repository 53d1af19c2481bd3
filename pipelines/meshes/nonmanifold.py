"""Separation of surfaces that touch along edges or in vertices."""

from __future__ import annotations

import numpy as np
import torch

from .surface import Array, Surface
from .topology import face_neighbours, fan_links, label_components, unique_edges

HAIR = 4e-6  # of the box diagonal; wider than the weld of repair, narrower than anything one sees


def split_nonmanifold(surface: Surface) -> Surface:
    """Double points until no edge has more than two faces and every point has one fan of faces.

    At an edge of many faces, each pair that encloses a wedge of the inside stays joined (faces must be oriented); what
    finds no partner gets a boundary. Where a pair still shares both ends of its edge with another pair, its edge is
    divided in the middle.
    """
    for _ in range(8):
        neighbours = _paired_neighbours(surface)
        surface = _separate_fans(surface, neighbours)
        stuck = _shared_pairs(surface, neighbours)
        if len(stuck) == 0:
            return surface
        surface = _divide(surface, stuck)
    return _separate_fans(surface, face_neighbours(surface.tensor).numpy())


def _paired_neighbours(surface: Surface) -> Array:
    """(M, 3) faces across the edges, with the wedges of non-manifold edges joined."""
    faces = surface.faces
    neighbours = face_neighbours(surface.tensor).numpy().copy()
    edges, face_edges = unique_edges(surface.tensor)
    flat = face_edges.reshape(-1).numpy()
    counts = np.bincount(flat)
    crowded = np.nonzero(counts[flat] > 2)[0]
    if len(crowded) == 0:
        return neighbours
    face, slot, edge = crowded // 3, crowded % 3, flat[crowded]
    ends = edges.numpy()[edge]
    forward = faces[face, slot] == ends[:, 0]
    origin, tip = surface.points[ends[:, 0]], surface.points[ends[:, 1]]
    axis = tip - origin
    axis /= np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-300)
    helper = np.eye(3)[np.abs(axis).argmin(1)]
    x = np.cross(helper, axis)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    y = np.cross(axis, x)
    away = surface.points[faces[face, (slot + 2) % 3]] - origin
    angle = np.arctan2((away * y).sum(1), (away * x).sum(1))
    order = np.lexsort((forward, angle, edge))
    face, slot, edge, forward = face[order], slot[order], edge[order], forward[order]
    first = np.searchsorted(edge, edge, side="left")
    size = counts[edge]
    following = first + (np.arange(len(edge)) - first + 1) % size
    # The inside lies clockwise of a face that runs along the edge, so it ends at a face that runs against it before it.
    joined = ~forward & forward[following]
    left, right = np.nonzero(joined)[0], following[joined]
    neighbours[face[left], slot[left]] = face[right]
    neighbours[face[right], slot[right]] = face[left]
    return neighbours


def _separate_fans(surface: Surface, neighbours: Array) -> Surface:
    """Give every fan of faces its own point; the first fan of a point keeps it."""
    faces = surface.tensor
    count = len(surface.faces)
    if count == 0:
        return surface
    links = fan_links(faces, torch.from_numpy(neighbours))
    fans = label_components(links, count * 3).numpy()
    flat = surface.faces.reshape(-1)
    owner = np.empty(int(fans.max()) + 1, dtype=np.int64)
    owner[fans[::-1]] = flat[::-1]
    _, first = np.unique(owner, return_index=True)
    extra = np.ones(len(owner), dtype=bool)
    extra[first] = False
    ids = owner.copy()
    ids[extra] = len(surface.points) + np.arange(int(extra.sum()))
    points = np.concatenate((surface.points, _drawn_in(surface, fans, owner)[extra]))
    return _replace_geometry(surface, points, ids[fans].reshape(-1, 3))


def _drawn_in(surface: Surface, fans: Array, owner: Array) -> Array:
    """(F, 3) the point of every fan, moved into its fan by a hair, so that welding by place keeps fans apart."""
    corners = surface.points[surface.faces]
    centres = np.repeat(corners.mean(1), 3, axis=0)
    count = np.maximum(np.bincount(fans), 1)
    middle = np.stack([np.bincount(fans, centres[:, axis]) / count for axis in range(3)], axis=1)
    place = surface.points[owner]
    way = middle - place
    length = np.linalg.norm(way, axis=1, keepdims=True)
    hair = HAIR * np.linalg.norm(surface.points.max(0) - surface.points.min(0))
    return place + way * np.minimum(hair / np.maximum(length, 1e-300), 0.25)


def _shared_pairs(surface: Surface, neighbours: Array) -> Array:
    """(K, 2) face and edge slot of one side of every pair but one, at edges that more than two faces still share."""
    _, face_edges = unique_edges(surface.tensor)
    flat = face_edges.reshape(-1).numpy()
    crowded = np.nonzero(np.bincount(flat)[flat] > 2)[0]
    if len(crowded) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    face, slot, edge = crowded // 3, crowded % 3, flat[crowded]
    partner = neighbours[face, slot]
    lead = (partner < 0) | (face < partner)
    face, slot, edge = face[lead], slot[lead], edge[lead]
    order = np.argsort(edge, kind="stable")
    face, slot, edge = face[order], slot[order], edge[order]
    repeated = np.concatenate(([False], edge[1:] == edge[:-1]))
    chosen = np.stack((face[repeated], slot[repeated]), axis=1)
    return _independent(chosen, neighbours)


def _independent(chosen: Array, neighbours: Array) -> Array:
    """Those of the (face, slot) rows whose faces no earlier row touches."""
    taken: set[int] = set()
    kept = []
    for face, slot in chosen.tolist():
        touched = {face, int(neighbours[face, slot])} - {-1}
        if not touched & taken:
            taken |= touched
            kept.append((face, slot))
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _divide(surface: Surface, rows: Array) -> Surface:
    """Put a new point in the middle of the given (face, slot) edges, on both joined faces."""
    neighbours = _paired_neighbours(surface)
    face, slot = rows.T
    new = len(surface.points) + np.arange(len(rows))
    middle = 0.5 * (surface.points[surface.faces[face, slot]] + surface.points[surface.faces[face, (slot + 1) % 3]])
    partner = neighbours[face, slot]
    paired = partner >= 0
    back = (neighbours[partner] == face[:, None]).argmax(1)
    face = np.concatenate((face, partner[paired]))
    slot = np.concatenate((slot, back[paired]))
    point = np.concatenate((new, new[paired]))
    faces, corners = surface.faces.copy(), surface.corners.copy()
    second, third = (slot + 1) % 3, (slot + 2) % 3
    halves = np.stack((point, faces[face, second], faces[face, third]), axis=1)
    half_corners = np.stack((corners[face, slot], corners[face, second], corners[face, third]), axis=1)
    faces[face, second], corners[face, second] = point, corners[face, slot]
    whole = _replace_geometry(surface, np.concatenate((surface.points, middle)), faces, corners)
    divided = whole.add(np.zeros((0, 3)), halves, half_corners, surface.material[face], surface.patch[face])
    divided.flipped[len(faces) :] = surface.flipped[face]
    return divided


def _replace_geometry(surface: Surface, points: Array, faces: Array, corners: Array | None = None) -> Surface:
    return Surface(
        source=surface.source,
        points=points,
        faces=faces,
        corners=surface.corners if corners is None else corners,
        material=surface.material,
        flipped=surface.flipped,
        patch=surface.patch,
    )
