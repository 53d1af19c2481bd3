"""Compiled trilinear lookup in a texture with mip levels, and the first of them.

The formulas are those of mipmaps.py.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel

Array = np.ndarray


@kernel
def inside(place: int, size: int, repeat: bool) -> int:
    """A row or column of a texture that repeats or continues its border."""
    if repeat:
        return place % size
    return min(max(place, 0), size - 1)


@kernel
def add_level(
    image: Array, pyramid: Array, start: int, height: int, width: int, decode: Array, repeat: bool, u: float, v: float,
    share: float, result: Array,
) -> None:  # fmt: skip
    """Add ``share`` of the bilinear value of one level at (u, v) to ``result`` (C,).

    Level 0, where ``start`` is negative, is ``image`` (H, W, C) uint8 through ``decode`` (256, C); the others lie in
    ``pyramid`` (T, C) from row ``start`` on.
    """
    x, y = u * width - 0.5, v * height - 0.5
    left, top = np.floor(x), np.floor(y)
    right, down = x - left, y - top
    for corner in range(4):
        dx, dy = corner % 2, corner // 2
        part = share * (right if dx else 1.0 - right) * (down if dy else 1.0 - down)
        column, row = inside(np.int64(left) + dx, width, repeat), inside(np.int64(top) + dy, height, repeat)
        for c in range(result.shape[0]):
            if start < 0:
                result[c] += part * decode[image[row, column, c], c]
            else:
                result[c] += part * pyramid[start + row * width + column, c]


@kernel
def sample_levels(
    image: Array, pyramid: Array, starts: Array, decode: Array, repeat: bool, bias: float, uv: Array, uv_step: Array,
    result: Array,
) -> None:  # fmt: skip
    """Write trilinear values (P, C) at ``uv`` (P, 2) of samples ``uv_step`` (P,) apart.

    ``starts`` (L, 3) int64: where each level begins in ``pyramid``, its height and its width; -1 for the first.
    """
    scale = np.sqrt(np.float64(image.shape[0] * image.shape[1]))
    last = starts.shape[0] - 1
    for p in range(uv.shape[0]):
        u, v = np.float64(uv[p, 0]), np.float64(uv[p, 1])
        if not (np.isfinite(u) and np.isfinite(v)):
            u, v = 0.0, 0.0
        result[p] = 0.0
        level = min(max(np.log2(max(uv_step[p] * scale, 1e-6)) + bias, 0.0), np.float64(last))
        base = np.int64(level)
        share = level - base
        start, height, width = starts[base, 0], starts[base, 1], starts[base, 2]
        add_level(image, pyramid, start, height, width, decode, repeat, u, v, 1.0 - share, result[p])
        if share > 0.0:
            start, height, width = starts[base + 1, 0], starts[base + 1, 1], starts[base + 1, 2]
            add_level(image, pyramid, start, height, width, decode, repeat, u, v, share, result[p])


@kernel
def halve_image(image: Array, decode: Array, level: Array) -> None:
    """Write into ``level`` (h, w, C) the means of the texels of ``image`` (H, W, C) uint8 through ``decode`` (256, C).

    An odd number of rows or columns is covered by windows of three that overlap.
    """
    rows, columns, channels = image.shape
    height, width = level.shape[0], level.shape[1]
    for y in range(height):
        top, bottom = y * rows // height, -(-(y + 1) * rows // height)
        for x in range(width):
            left, right = x * columns // width, -(-(x + 1) * columns // width)
            part = np.float32(1.0 / ((bottom - top) * (right - left)))
            for c in range(channels):
                total = np.float32(0.0)
                for row in range(top, bottom):
                    for column in range(left, right):
                        total += decode[image[row, column, c], c]
                level[y, x, c] = total * part
