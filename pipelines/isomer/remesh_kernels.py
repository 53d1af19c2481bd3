"""The loops of the compiled remeshing pass, on int32 faces and float32 states. See remesh_numba.py."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

Array = np.ndarray

LEAST_VALENCE = 3  # of a vertex of a closed surface


@kernel
def faces_beside(faces: Array, sides: Array, edge_face: Array) -> None:
    """Fill in the faces that run along an edge from its low to its high end (0) and back (1), -1 for none."""
    for e in range(edge_face.shape[0]):
        edge_face[e, 0] = -1
        edge_face[e, 1] = -1
    for f in range(faces.shape[0]):
        for k in range(3):
            forward = faces[f, k] < faces[f, (k + 1) % 3]
            edge_face[sides[f, k], 0 if forward else 1] = f


@kernel
def collapse_priorities(
    state: Array,
    minimum: Array,
    faces: Array,
    edges: Array,
    edge_count: int,
    sides: Array,
    draw: Array,
    near: float,
    middle: float,
    normals: Array,
    length: Array,
    priority: Array,
) -> None:
    """Priority of every edge: nominated by a folded or small face, plus how far it falls short of the minimum."""
    for v in range(state.shape[0]):
        for k in range(3):
            normals[v, k] = 0.0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = state[b, 0] - state[a, 0], state[b, 1] - state[a, 1], state[b, 2] - state[a, 2]
        wx, wy, wz = state[c, 0] - state[a, 0], state[c, 1] - state[a, 1], state[c, 2] - state[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for k in range(3):
            v = faces[f, k]
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(state.shape[0]):
        size = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        scale = 1.0 / max(size, 1e-20)
        for k in range(3):
            normals[v, k] *= scale
    for e in range(edge_count):
        a, b = edges[e, 0], edges[e, 1]
        dx, dy, dz = state[a, 0] - state[b, 0], state[a, 1] - state[b, 1], state[a, 2] - state[b, 2]
        length[e] = np.sqrt(dx * dx + dy * dy + dz * dz)
        priority[e] = max(0.0, 1.0 - length[e] / (0.5 * (minimum[a] + minimum[b])))
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = state[b, 0] - state[a, 0], state[b, 1] - state[a, 1], state[b, 2] - state[a, 2]
        wx, wy, wz = state[c, 0] - state[a, 0], state[c, 1] - state[a, 1], state[c, 2] - state[a, 2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        sx = normals[a, 0] + normals[b, 0] + normals[c, 0]
        sy = normals[a, 1] + normals[b, 1] + normals[c, 1]
        sz = normals[a, 2] + normals[b, 2] + normals[c, 2]
        least = (minimum[a] + minimum[b] + minimum[c]) / 3.0
        folded = nx * sx + ny * sy + nz * sz < 0.0
        if folded or np.sqrt(nx * nx + ny * ny + nz * nz) < least * least:
            p, q, r = sides[f, 0], sides[f, 1], sides[f, 2]
            if length[q] < length[p]:
                p, q = q, p
            if length[r] < length[q]:
                q, r = r, q
                if length[q] < length[p]:
                    p, q = q, p
            chosen = p if draw[f] < near else (q if draw[f] < middle else r)
            if priority[chosen] < 1.0:
                priority[chosen] += 1.0


@kernel
def neighbours(edges: Array, edge_count: int, count: int, start: Array, ring: Array) -> None:
    """Neighbours of every vertex: those of v are ring[start[v]:start[v + 1]]."""
    for i in range(count + 1):
        start[i] = 0
    for e in range(edge_count):
        start[edges[e, 0]] += 1
        start[edges[e, 1]] += 1
    total = 0
    for v in range(count):
        total += start[v]
        start[v] = total
    start[count] = total
    for e in range(edge_count):
        a, b = edges[e, 0], edges[e, 1]
        start[a] -= 1
        ring[start[a]] = b
        start[b] -= 1
        ring[start[b]] = a


@kernel
def collapse_in_order(
    state: Array,
    faces: Array,
    edges: Array,
    edge_face: Array,
    order: Array,
    start: Array,
    ring: Array,
    locked: Array,
    valence: Array,
    target: Array,
) -> int:
    """Collapse edges in the given order where both rings are untouched and the surface stays a manifold.

    Returns the number of faces left, moved to the front.
    """
    for v in range(state.shape[0]):
        target[v] = v
        locked[v] = 0
        valence[v] = start[v + 1] - start[v]
    for i in range(order.shape[0]):
        e = order[i]
        a, b = edges[e, 0], edges[e, 1]
        if locked[a] or locked[b]:
            continue
        shared = 0
        thin = False
        for p in range(start[a], start[a + 1]):
            for q in range(start[b], start[b + 1]):
                if ring[p] == ring[q]:
                    shared += 1
                    thin = thin or valence[ring[p]] <= LEAST_VALENCE
        adjacent = (1 if edge_face[e, 0] >= 0 else 0) + (1 if edge_face[e, 1] >= 0 else 0)
        if shared != adjacent or thin:
            continue
        for p in range(start[a], start[a + 1]):
            for q in range(start[b], start[b + 1]):
                if ring[p] == ring[q]:
                    valence[ring[p]] -= 1
        for p in range(start[a], start[a + 1]):
            locked[ring[p]] = 1
        for q in range(start[b], start[b + 1]):
            locked[ring[q]] = 1
        for k in range(state.shape[1]):
            state[a, k] = 0.5 * (state[a, k] + state[b, k])
        target[b] = a
    kept = 0
    for f in range(faces.shape[0]):
        a, b, c = target[faces[f, 0]], target[faces[f, 1]], target[faces[f, 2]]
        if a != b and b != c and c != a:
            faces[kept, 0] = a
            faces[kept, 1] = b
            faces[kept, 2] = c
            kept += 1
    return kept


@kernel
def pack(state: Array, faces: Array, index: Array) -> int:
    """Close the gaps that unused vertices leave in ``state``, in place; returns how many vertices remain."""
    for v in range(state.shape[0]):
        index[v] = -1
    for f in range(faces.shape[0]):
        for k in range(3):
            index[faces[f, k]] = 0
    kept = 0
    for v in range(state.shape[0]):
        if index[v] == 0:
            index[v] = kept
            for k in range(state.shape[1]):
                state[kept, k] = state[v, k]
            kept += 1
    for f in range(faces.shape[0]):
        for k in range(3):
            faces[f, k] = index[faces[f, k]]
    return kept


@kernel
def mark_long(state: Array, maximum: Array, edges: Array, edge_count: int, middle: Array) -> int:
    """Number of edges to split; ``middle`` gets the index of each one's new vertex, or -1."""
    total = 0
    for e in range(edge_count):
        a, b = edges[e, 0], edges[e, 1]
        dx, dy, dz = state[a, 0] - state[b, 0], state[a, 1] - state[b, 1], state[a, 2] - state[b, 2]
        long = np.sqrt(dx * dx + dy * dy + dz * dz) > 0.5 * (maximum[a] + maximum[b])
        middle[e] = state.shape[0] + total if long else -1
        if long:
            total += 1
    return total


@kernel
def write_split(
    state: Array,
    faces: Array,
    edges: Array,
    edge_count: int,
    sides: Array,
    middle: Array,
    new_state: Array,
    new_faces: Array,
) -> int:
    """Write vertices and faces with the marked edges cut; returns the number of faces."""
    for v in range(state.shape[0]):
        for k in range(state.shape[1]):
            new_state[v, k] = state[v, k]
    for e in range(edge_count):
        if middle[e] >= 0:
            for k in range(state.shape[1]):
                new_state[middle[e], k] = 0.5 * (state[edges[e, 0], k] + state[edges[e, 1], k])
    total = faces.shape[0]
    for f in range(faces.shape[0]):
        for k in range(3):
            cut = middle[sides[f, k]]
            new_faces[f, k] = cut if cut >= 0 else faces[f, k]
        for k in range(3):
            cut = middle[sides[f, k]]
            if cut >= 0:
                new_faces[total, 0] = faces[f, k]
                new_faces[total, 1] = cut
                new_faces[total, 2] = new_faces[f, (k + 2) % 3]
                total += 1
    return total


@kernel
def flip_gains(
    faces: Array,
    edges: Array,
    edge_count: int,
    edge_face: Array,
    valence: Array,
    opposite: Array,
    gain: Array,
) -> None:
    """Valence of every vertex, the vertices opposite to every edge and what its flip would gain (0 at a border)."""
    for v in range(valence.shape[0]):
        valence[v] = 0
    for e in range(edge_count):
        valence[edges[e, 0]] += 1
        valence[edges[e, 1]] += 1
    for e in range(edge_count):
        gain[e] = 0
        if edge_face[e, 0] < 0 or edge_face[e, 1] < 0:
            continue
        for side in range(2):
            f = edge_face[e, side]
            for k in range(3):
                if faces[f, k] != edges[e, 0] and faces[f, k] != edges[e, 1]:
                    opposite[e, side] = faces[f, k]
        apart = valence[opposite[e, 0]] + valence[opposite[e, 1]]
        gain[e] = 2 + apart - valence[edges[e, 0]] - valence[edges[e, 1]]


@kernel
def flip_in_order(
    state: Array,
    faces: Array,
    edges: Array,
    edge_face: Array,
    opposite: Array,
    order: Array,
    first: Array,
    ends: Array,
    valence: Array,
    used: Array,
    locked: Array,
) -> None:
    """Flip edges in the given order where that still evens valences, keeps normals and makes no edge twice.

    ``ends[first[v]:first[v + 1]]`` are the high ends of the edges whose low end is v.
    """
    for i in range(order.shape[0]):
        e = order[i]
        f, g = edge_face[e, 0], edge_face[e, 1]
        low, high, left, right = edges[e, 0], edges[e, 1], opposite[e, 0], opposite[e, 1]
        if used[f] or used[g] or locked[left] or locked[right] or left == right:
            continue
        if 2 + valence[left] + valence[right] - valence[low] - valence[high] >= 0:
            continue
        if valence[low] <= LEAST_VALENCE or valence[high] <= LEAST_VALENCE:
            continue
        exists = False
        for p in range(first[min(left, right)], first[min(left, right) + 1]):
            exists = exists or ends[p, 1] == max(left, right)
        if exists:
            continue
        hx, hy, hz = state[high, 0] - state[low, 0], state[high, 1] - state[low, 1], state[high, 2] - state[low, 2]
        lx, ly, lz = state[left, 0] - state[low, 0], state[left, 1] - state[low, 1], state[left, 2] - state[low, 2]
        rx, ry, rz = state[right, 0] - state[low, 0], state[right, 1] - state[low, 1], state[right, 2] - state[low, 2]
        ox = (hy * lz - hz * ly) + (ry * hz - rz * hy)
        oy = (hz * lx - hx * lz) + (rz * hx - rx * hz)
        oz = (hx * ly - hy * lx) + (rx * hy - ry * hx)
        if (ry * lz - rz * ly) * ox + (rz * lx - rx * lz) * oy + (rx * ly - ry * lx) * oz <= 0.0:
            continue
        ax, ay, az = lx - hx, ly - hy, lz - hz
        bx, by, bz = rx - hx, ry - hy, rz - hz
        if (ay * bz - az * by) * ox + (az * bx - ax * bz) * oy + (ax * by - ay * bx) * oz <= 0.0:
            continue
        faces[f, 0], faces[f, 1], faces[f, 2] = low, right, left
        faces[g, 0], faces[g, 1], faces[g, 2] = high, left, right
        valence[low] -= 1
        valence[high] -= 1
        valence[left] += 1
        valence[right] += 1
        used[f] = 1
        used[g] = 1
        locked[left] = 1
        locked[right] = 1


@kernel
def sum_neighbours(vertices: Array, edges: Array, edge_count: int, sums: Array, degree: Array) -> None:
    for e in range(edge_count):
        a, b = edges[e, 0], edges[e, 1]
        degree[a] += 1
        degree[b] += 1
        for k in range(vertices.shape[1]):
            sums[a, k] += vertices[b, k]
            sums[b, k] += vertices[a, k]
