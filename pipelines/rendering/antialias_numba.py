"""Compiled blending across silhouettes and its derivative by hand, for one view with flat pixels.

The formulas are those of antialias.py.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

Array = np.ndarray


@kernel
def reach_beyond_middle(
    clip: Array, inner: int, outer: int, i: int, j: int, vertical: bool, height: int, width: int
) -> tuple[float, ...]:
    """How far the edge i-j reaches beyond the middle between two pixels, and that figure's derivative by x and y of
    the edge's ends on the screen (across and along the lines of pixel centres: t0, t1, s0, s1)."""
    aw, bw = np.float64(clip[i, 3]), np.float64(clip[j, 3])
    ax, ay = (clip[i, 0] / aw + 1.0) * (width / 2), (1.0 - clip[i, 1] / aw) * (height / 2)
    bx, by = (clip[j, 0] / bw + 1.0) * (width / 2), (1.0 - clip[j, 1] / bw) * (height / 2)
    if vertical:
        s0, s1, t0, t1 = ax, bx, ay, by
        line, centre = inner % width + 0.5, inner // width + 0.5
    else:
        s0, s1, t0, t1 = ay, by, ax, bx
        line, centre = inner // width + 0.5, inner % width + 0.5
    direction = 1.0 if outer > inner else -1.0
    share = (line - s0) / (s1 - s0)
    lean = (t1 - t0) / (s1 - s0)
    place = t0 + share * (t1 - t0)
    by_t0, by_t1 = direction * (1.0 - share), direction * share
    return direction * (place - centre) - 0.5, by_t0, by_t1, -lean * by_t0, -lean * by_t1


@kernel
def blend_crossings(
    clip: Array,
    inner: Array,
    outer: Array,
    ends: Array,
    vertical: Array,
    height: int,
    width: int,
    difference: Array,
    weight: Array,
    target: Array,
    image: Array,
) -> None:
    """Antialias ``image`` (H * W, C) in place. Fills for the derivative what each crossing did: it added ``weight``
    (R,) times ``difference`` (R, C) to the pixel ``target`` (R,)."""
    channels = image.shape[1]
    for n in range(inner.shape[0]):
        weight[n] = reach_beyond_middle(clip, inner[n], outer[n], ends[n, 0], ends[n, 1], vertical[n], height, width)[0]
        for c in range(channels):
            difference[n, c] = image[inner[n], c] - image[outer[n], c]
    for n in range(inner.shape[0]):
        target[n] = outer[n] if weight[n] > 0.0 else inner[n]
        for c in range(channels):
            image[target[n], c] += weight[n] * difference[n, c]


@kernel
def pull_outlines(
    clip: Array,
    inner: Array,
    outer: Array,
    ends: Array,
    vertical: Array,
    height: int,
    width: int,
    difference: Array,
    target: Array,
    gradient: Array,
    to_clip: Array,
) -> None:
    """Add to ``to_clip`` (N, 4) what ``gradient`` (H * W, C) of the blended image means for the ends of the edges."""
    for n in range(inner.shape[0]):
        along = 0.0
        for c in range(difference.shape[1]):
            along += gradient[target[n], c] * difference[n, c]
        i, j = ends[n, 0], ends[n, 1]
        _, by_t0, by_t1, by_s0, by_s1 = reach_beyond_middle(clip, inner[n], outer[n], i, j, vertical[n], height, width)
        for turn in range(2):
            corner = i if turn == 0 else j
            by_t, by_s = (by_t0, by_s0) if turn == 0 else (by_t1, by_s1)
            by_x, by_y = (by_s, by_t) if vertical[n] else (by_t, by_s)
            w = np.float64(clip[corner, 3])
            gx, gy = along * by_x * (width / 2) / w, -along * by_y * (height / 2) / w
            to_clip[corner, 0] += gx
            to_clip[corner, 1] += gy
            to_clip[corner, 3] -= (gx * clip[corner, 0] + gy * clip[corner, 1]) / w
