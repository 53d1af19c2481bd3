"""Compiled search of the nearest triangle in a tree of boxes."""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

Array = np.ndarray

FLAT = 1e-12  # squared sine between two sides from which on a triangle counts as a line
STACK = 64  # more than the depth of any tree


@kernel
def cut_nodes(centres: Array, order: Array, start: int, stop: int, size: int, smallest: int) -> None:
    """Sort ``order`` [start, stop) so that nodes of ``size`` triangles, halved down to ``smallest``, are cut at the
    median of their longest side; ``centres`` (M, 3) of the triangles."""
    keys = np.empty(stop - start, np.float32)
    while size > smallest:
        half = size // 2
        for first in range(start, stop, size):
            last = min(first + size, stop) - 1
            if last - first < half:
                continue
            axis, longest = 0, np.float32(-1.0)
            for candidate in range(3):
                low = high = centres[order[first], candidate]
                for n in range(first + 1, last + 1):
                    value = centres[order[n], candidate]
                    low = min(low, value)
                    high = max(high, value)
                if high - low > longest:
                    axis, longest = candidate, high - low
            for n in range(first, last + 1):
                keys[n - start] = centres[order[n], axis]
            select(keys, order, start, first, last, first + half)
        size = half


@kernel
def select(keys: Array, order: Array, start: int, low: int, high: int, middle: int) -> None:
    """Partition places low..high by their keys, which begin at ``start``, so that none before ``middle`` is larger."""
    while low < high:
        pivot = keys[(low + high) // 2 - start]
        i, j = low, high
        while i <= j:
            while keys[i - start] < pivot:
                i += 1
            while keys[j - start] > pivot:
                j -= 1
            if i <= j:
                keys[i - start], keys[j - start] = keys[j - start], keys[i - start]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@kernel
def fill_boxes(corners: Array, leaf: int, low: Array, high: Array) -> None:
    """Bound the leaves of ``leaf`` triangles (M, 3, 3) each, then their parents; both boxes (2 P, 3) start empty."""
    leaves = low.shape[0] // 2
    for t in range(corners.shape[0]):
        node = leaves + t // leaf
        for k in range(3):
            for axis in range(3):
                value = corners[t, k, axis]
                low[node, axis] = min(low[node, axis], value)
                high[node, axis] = max(high[node, axis], value)
    for node in range(leaves - 1, 0, -1):
        for axis in range(3):
            low[node, axis] = min(low[2 * node, axis], low[2 * node + 1, axis])
            high[node, axis] = max(high[2 * node, axis], high[2 * node + 1, axis])


@kernel
def segment_share(
    px: float, py: float, pz: float, ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> tuple[float, float]:
    """Where on the segment from a to b the point nearest to p lies (0..1), and its squared distance."""
    x, y, z = bx - ax, by - ay, bz - az
    length = x * x + y * y + z * z
    share = ((px - ax) * x + (py - ay) * y + (pz - az) * z) / length if length > 0.0 else 0.0
    share = min(max(share, 0.0), 1.0)
    gx, gy, gz = px - ax - share * x, py - ay - share * y, pz - az - share * z
    return share, gx * gx + gy * gy + gz * gz


@kernel
def nearest_on_triangle(corners: Array, t: int, px: float, py: float, pz: float) -> tuple[float, float, float, float]:
    """Barycentrics of the point of triangle t that is nearest to p, and its squared distance."""
    ax, ay, az = np.float64(corners[t, 0, 0]), np.float64(corners[t, 0, 1]), np.float64(corners[t, 0, 2])
    bx, by, bz = np.float64(corners[t, 1, 0]), np.float64(corners[t, 1, 1]), np.float64(corners[t, 1, 2])
    cx, cy, cz = np.float64(corners[t, 2, 0]), np.float64(corners[t, 2, 1]), np.float64(corners[t, 2, 2])
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    wx, wy, wz = px - ax, py - ay, pz - az
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    wu, wv = wx * ux + wy * uy + wz * uz, wx * vx + wy * vy + wz * vz
    area = uu * vv - uv * uv
    if area > FLAT * uu * vv:
        v = vv * wu - uv * wv
        w = uu * wv - uv * wu
        if v >= 0.0 and w >= 0.0 and v + w <= area:
            v /= area
            w /= area
            gx, gy, gz = wx - v * ux - w * vx, wy - v * uy - w * vy, wz - v * uz - w * vz
            return 1.0 - v - w, v, w, gx * gx + gy * gy + gz * gz
    share, best = segment_share(px, py, pz, ax, ay, az, bx, by, bz)
    one, two, three = 1.0 - share, share, 0.0
    share, distance = segment_share(px, py, pz, bx, by, bz, cx, cy, cz)
    if distance < best:
        best, one, two, three = distance, 0.0, 1.0 - share, share
    share, distance = segment_share(px, py, pz, cx, cy, cz, ax, ay, az)
    if distance < best:
        best, one, two, three = distance, share, 0.0, 1.0 - share
    return one, two, three, best


@kernel
def box_distance(low: Array, high: Array, node: int, px: np.float32, py: np.float32, pz: np.float32) -> np.float32:
    """Squared distance from p to a box; infinite for an empty one."""
    zero = np.float32(0.0)
    x = max(max(low[node, 0] - px, px - high[node, 0]), zero)
    y = max(max(low[node, 1] - py, py - high[node, 1]), zero)
    z = max(max(low[node, 2] - pz, pz - high[node, 2]), zero)
    return x * x + y * y + z * z


@kernel
def search(
    corners: Array,
    low: Array,
    high: Array,
    leaf: int,
    points: Array,
    limit: float,
    position: Array,
    weights: Array,
    distance: Array,
) -> None:
    """For each of ``points`` (Q, 3) the nearest of ``corners`` (M, 3, 3) within ``limit``; -1 where there is none.

    The answer to the query before is the first guess.
    """
    count, leaves = corners.shape[0], low.shape[0] // 2
    stack, reach = np.empty(STACK, np.int64), np.empty(STACK, np.float32)
    nearest = -1
    for q in range(points.shape[0]):
        px, py, pz = points[q, 0], points[q, 1], points[q, 2]
        x, y, z = np.float64(px), np.float64(py), np.float64(pz)
        best = limit * limit
        one, two, three = 0.0, 0.0, 0.0
        guess, nearest = nearest, -1
        if guess >= 0:
            a, b, c, d = nearest_on_triangle(corners, guess, x, y, z)
            if d < best:
                best, nearest, one, two, three = d, guess, a, b, c
        top = 1
        stack[0] = 1
        reach[0] = box_distance(low, high, 1, px, py, pz)
        while top > 0:
            top -= 1
            node = stack[top]
            # boxes are measured in single precision: keep what rounding alone may have pushed away
            if reach[top] * 0.999999 >= best:
                continue
            if node >= leaves:
                first = (node - leaves) * leaf
                for t in range(first, min(first + leaf, count)):
                    a, b, c, d = nearest_on_triangle(corners, t, x, y, z)
                    if d < best:
                        best, nearest, one, two, three = d, t, a, b, c
                continue
            left = box_distance(low, high, 2 * node, px, py, pz)
            right = box_distance(low, high, 2 * node + 1, px, py, pz)
            near = 2 * node if left <= right else 2 * node + 1
            stack[top] = 4 * node + 1 - near
            reach[top] = max(left, right)
            stack[top + 1] = near
            reach[top + 1] = min(left, right)
            top += 2
        position[q] = nearest
        weights[q, 0], weights[q, 1], weights[q, 2] = one, two, three
        distance[q] = np.sqrt(best)
