"""All crossings of parallel lines with triangles, without an acceleration structure."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

CANDIDATES = 1 << 21  # pairs of line and triangle tested at once; bounds the memory


def ray_directions(count: int) -> Array:
    """(count, 3) unit vectors spread over a half-sphere, none of them near an axis or a diagonal."""
    index = np.arange(count) + 0.5
    height = 1.0 - index / count * 0.97
    angle = index * 2.399963229728653 + 0.7137
    ring = np.sqrt(1.0 - height**2)
    vectors = np.stack((ring * np.cos(angle), height, ring * np.sin(angle)), axis=1)
    tilt = _frame(np.array([0.3141, 0.8271, -0.4662]))
    return vectors @ tilt


def line_crossings(points: Array, faces: Array, origins: Array, direction: Array) -> tuple[Array, Array, Array]:
    """Where lines through ``origins`` (R, 3) along one ``direction`` (3,) pierce ``faces`` (M, 3) of ``points`` (P, 3).

    Returns the line (K,), the face (K,) and the signed distance (K,) from the origin in lengths of the unit direction.
    Lines are sorted along one axis, so a triangle meets only the lines within its extent.
    """
    frame = _frame(direction)
    flat = points @ frame.T
    lines = origins @ frame.T
    order = np.argsort(lines[:, 0], kind="stable")
    sorted_x = lines[order, 0]
    corners = flat[faces]
    first = np.searchsorted(sorted_x, corners[:, :, 0].min(1), side="left")
    last = np.searchsorted(sorted_x, corners[:, :, 0].max(1), side="right")
    counts = last - first
    total = np.concatenate(([0], np.cumsum(counts)))
    found: list[tuple[Array, Array, Array]] = []
    start = 0
    while start < len(faces):
        stop = max(int(np.searchsorted(total, total[start] + CANDIDATES, side="right")) - 1, start + 1)
        face = np.repeat(np.arange(start, stop), counts[start:stop])
        if len(face):
            slot = np.arange(len(face)) + total[start] - total[face] + first[face]
            found.append(_pierce(corners, face, lines, order[slot]))
        start = stop
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0)
    line, face, distance = (np.concatenate(parts) for parts in zip(*found))
    return line, face, distance


def _pierce(corners: Array, face: Array, lines: Array, line: Array) -> tuple[Array, Array, Array]:
    y = lines[line, 1]
    span = corners[:, :, 1]
    near = (y >= span.min(1)[face]) & (y <= span.max(1)[face]) if len(face) > len(corners) else slice(None)
    face, line = face[near], line[near]
    a, b, c = (corners[face, i] - lines[line] for i in range(3))
    ab = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    bc = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    ca = c[:, 0] * a[:, 1] - c[:, 1] * a[:, 0]
    area = ab + bc + ca
    inside = (((ab >= 0) & (bc >= 0) & (ca >= 0)) | ((ab <= 0) & (bc <= 0) & (ca <= 0))) & (area != 0)
    face, line, area = face[inside], line[inside], area[inside]
    distance = (bc[inside] * a[inside, 2] + ca[inside] * b[inside, 2] + ab[inside] * c[inside, 2]) / area
    return line, face, distance


def _frame(direction: Array) -> Array:
    """(3, 3) rotation whose last row is the normalised direction."""
    z = direction / np.linalg.norm(direction)
    helper = np.eye(3)[np.abs(z).argmin()]
    x = np.cross(helper, z)
    x /= np.linalg.norm(x)
    return np.stack((x, np.cross(z, x), z))
