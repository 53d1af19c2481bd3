"""Pixels of a fine map that attend to a window of cells of a coarse one, as NAF upsamples features.

Window: the WINDOW x WINDOW cells around the cell in which a pixel lies, slid inward at the borders of the map. Source:
specs/pixal3d.md section 2.5.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError

WINDOW = 9
BUDGET = 1 << 25  # numbers of queries, keys and values that are gathered at once


def attend_everywhere(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, heads: int) -> torch.Tensor:
    """(D, T, T) for every pixel of ``queries`` (C, T, T), from ``keys`` (C, n, n) and ``values`` (D, n, n).

    Channels are split into ``heads``; scores are scaled by one over the root of a head's channels. Raises Bundle3DError
    where T is no multiple of n. `attend_at` gives the same at some pixels only.
    """
    factor = cell_size(queries.shape[-1], keys.shape[-1])
    cells = keys.shape[-1]
    blocks = queries.unflatten(-1, (cells, factor)).unflatten(1, (cells, factor)).permute(1, 3, 2, 4, 0)
    windows = _windows(torch.arange(cells, device=queries.device), cells)
    keys, values = (part.flatten(1).T for part in (keys, values))
    rows = []
    for down, row in enumerate(blocks):
        near = windows[down][None, :, None] * cells + windows[:, None, :]
        own = near.flatten(1)
        rows.append(_attend(row.flatten(1, 2), keys[own], values[own], heads))
    found = torch.stack(rows).unflatten(2, (factor, factor))
    return found.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)


def attend_at(
    queries: torch.Tensor,
    pixels: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """(P, D): what `attend_everywhere` gives at ``pixels`` (P,) int64, counted row by row of ``queries`` (C, T, T).

    Pixels that share a window are computed together; the map of D channels never exists.
    """
    size, cells = queries.shape[-1], keys.shape[-1]
    factor = cell_size(size, cells)
    windows = _windows(torch.arange(cells, device=queries.device), cells)
    starts = windows[:, 0]
    down, across = starts[pixels // size // factor], starts[pixels % size // factor]
    order = torch.argsort(down * cells + across)
    corners, counts = torch.unique_consecutive((down * cells + across)[order], return_counts=True)
    firsts = counts.cumsum(0) - counts
    offsets = (windows[0][:, None] * cells + windows[0][None, :]).flatten()
    queries, keys, values = (part.flatten(1).T for part in (queries, keys, values))
    found = queries.new_empty(len(pixels), values.shape[1])
    by_count = torch.argsort(counts, descending=True)
    sizes = counts[by_count].tolist()
    start = 0
    while start < len(by_count):
        most = sizes[start]
        taken = max(1, BUDGET // ((most + len(offsets)) * (queries.shape[1] + values.shape[1])))
        own = by_count[start : start + taken]
        start += taken
        slots = torch.arange(most, device=pixels.device)
        real = slots < counts[own][:, None]
        rows = order[(firsts[own][:, None] + slots).clamp(max=len(order) - 1)]
        near = corners[own][:, None] + offsets
        answers = _attend(queries[pixels[rows]], keys[near], values[near], heads)
        found[rows[real]] = answers[real]
    return found


def cell_size(size: int, cells: int) -> int:
    """Pixels along a cell of a map; raises Bundle3DError where there is no whole number of them."""
    if not 0 < cells <= size or size % cells:
        raise Bundle3DError(
            f"Expected features to be upsampled to a multiple of their {cells} cells a side, but got {size}; choose "
            "another size."
        )
    return size // cells


def _windows(cells: torch.Tensor, count: int) -> torch.Tensor:
    """(count, w): which cells along one axis each of ``cells`` (count,) sees, all where there are fewer than WINDOW."""
    width = min(WINDOW, count)
    starts = (cells - width // 2).clamp(0, count - width)
    return starts[:, None] + torch.arange(width, device=cells.device)


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, m, D) of ``queries`` (B, m, C) to ``keys`` (B, w, C) and ``values`` (B, w, D)."""
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (queries, keys, values))
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(-2)
