"""Placing of rectangles in rows."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def shelf_pack(sizes: Array) -> tuple[Array, int, int]:
    """Corners (C, 2) of rectangles (C, 2), width and height as int64, without overlap, tallest first in rows.

    Returns the corners and the width and height of the whole, which is nearly square.
    """
    origin = np.zeros((len(sizes), 2), dtype=np.int64)
    if len(sizes) == 0:
        return origin, 0, 0
    width = int(max(np.ceil(np.sqrt(sizes.prod(1).sum()) * 1.1), sizes[:, 0].max()))
    x = y = shelf = used = 0
    for index in np.lexsort((-sizes[:, 0], -sizes[:, 1])):
        if x + sizes[index, 0] > width:
            x, y, shelf = 0, y + shelf, 0
        origin[index] = x, y
        x, shelf = x + int(sizes[index, 0]), max(shelf, int(sizes[index, 1]))
        used = max(used, x)
    return origin, used, y + shelf
