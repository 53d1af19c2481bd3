"""Placing of charts in a square texture by their outlines, without overlap and with room between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from ..errors import Bundle3DError
from ..kernels import HAVE_NUMBA, kernel
from ..meshes.topology import boundary_edges
from ..progress import Progress, silent
from .charts import Charts, chart_boxes

Array = np.ndarray

# In which order charts are placed (the sides of their boxes decide), and what an eighth of a row weighs against waste.
STRATEGIES = (("min", 2), ("max", 2), ("prod", 8), ("min", 8))
MANY_CHARTS = 150  # from here on only the first strategy is tried, the others gain little among small charts
STEPS = 24  # of the search for the scale, at most
LARGEST_GRID = 1024  # cells along the texture's side; finer placing costs time and gains less than a per cent


@dataclass(frozen=True)
class Profile:
    """Outline of a chart per column of cells: it fills rows ``bottom`` (W,) to ``top`` (W,) int64, half open."""

    bottom: Array
    top: Array

    @property
    def height(self) -> int:
        """Rows the chart takes."""
        return int(self.top.max())


def pack(charts: Charts, resolution: int, padding: int, backend: str = "auto", progress: Progress = silent) -> Array:
    """(P, 2) uv in the unit square of every chart point, at one scale for all charts.

    Charts are turned to their tightest box, then dropped, largest first, onto the skyline of those already placed, in
    the one of four quarter turns that leaves the least room below; the scale is the largest found that fits. At least
    ``padding`` texels stay between charts and half of that at the texture's border. Raises Bundle3DError when the
    charts do not fit even without any area.
    """
    if charts.count == 0:
        return np.zeros((0, 2))
    cell = max(1, -(-resolution // LARGEST_GRID))
    grid = resolution // cell
    gap = -(-padding // cell)
    points = _upright(charts)
    low, high = chart_boxes(points, charts.point_chart, charts.count)
    area = float(_plane_areas(points, charts.faces).sum())
    side = float((high - low).max())
    rim = boundary_edges(torch.from_numpy(charts.faces)).numpy()
    local = points - low[charts.point_chart]

    strategies = STRATEGIES if charts.count < MANY_CHARTS else STRATEGIES[:1]

    def attempt(scale: float) -> Array | None:
        profiles = _Profiles(local * scale, (high - low) * scale, rim, charts.point_chart)
        for order, level in strategies:
            placed = _place(profiles, order, level, grid, gap, backend)
            if placed is not None:
                return placed
        return None

    usable = max(grid - 2 * gap, 1)
    upper = min(np.sqrt(grid * grid / max(area, 1e-30)), usable / max(side, 1e-30))
    lower, placed = 0.0, None
    scale = min(upper, np.sqrt(0.62 * usable * usable / max(area, 1e-30)))
    for step in range(STEPS):
        progress(step, STEPS)
        result = attempt(scale)
        if result is not None:
            lower, placed = scale, result
        else:
            upper = scale
        if placed is None:
            scale *= 0.8
        elif upper / lower < 1.006:
            break
        else:
            scale = min(lower * 1.08, 0.5 * (lower + upper))
    if placed is None:
        raise Bundle3DError(
            f"Expected {charts.count} charts to fit into {resolution} x {resolution} texels, {padding} texels apart, "
            "but they do not; choose a higher resolution or a smaller padding, or simplify the mesh."
        )
    return placed * (cell / resolution)


def _upright(charts: Charts) -> Array:
    """Points with every chart turned by the angle, of 32 tried, that makes its box smallest."""
    angles = np.arange(32) / 32 * (np.pi / 2)
    areas = []
    for angle in angles:
        low, high = chart_boxes(_turn(charts.points, angle), charts.point_chart, charts.count)
        areas.append((high - low).prod(1))
    # a small bonus keeps charts that gain nothing axis aligned, so straight edges stay straight in the texture
    table = np.stack(areas) * np.where(angles == 0, 0.98, 1.0)[:, None]
    return _turn(charts.points, angles[table.argmin(0)][charts.point_chart])


def _turn(points: Array, angle: Array | float) -> Array:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack((points[:, 0] * cosine - points[:, 1] * sine, points[:, 0] * sine + points[:, 1] * cosine), axis=1)


def _plane_areas(points: Array, faces: Array) -> Array:
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    ab, ac = b - a, c - a
    return np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]) / 2


class _Profiles:
    """The outlines of all charts at one scale, upright and with x and y exchanged."""

    def __init__(self, local: Array, size: Array, rim: Array, point_chart: Array) -> None:
        self.local, self.point_chart = local, point_chart
        self.cells = np.maximum(np.ceil(size - 1e-9).astype(np.int64), 1)
        upright = outline_profiles(local, rim, point_chart, self.cells)
        swapped = outline_profiles(local[:, ::-1], rim, point_chart, self.cells[:, ::-1])
        self.turns = [_quarter_turns(*pair) for pair in zip(upright, swapped)]


def _place(profiles: _Profiles, order: str, level: int, grid: int, gap: int, backend: str) -> Array | None:
    """Positions (P, 2) in cells of all points, or None when the charts do not fit into ``grid`` x ``grid`` cells."""
    cells = profiles.cells
    margin = (gap + 1) // 2
    horizon = np.full(grid + 2 * gap, margin - gap, dtype=np.int64)
    drop = _drop_numba if HAVE_NUMBA and backend != "torch" else _drop_numpy
    turn = np.zeros(len(cells), dtype=np.int64)
    origin = np.zeros((len(cells), 2), dtype=np.int64)
    for index in np.argsort(-getattr(cells, order)(1), kind="stable"):
        best = None
        for quarter, profile in enumerate(profiles.turns[index]):
            width = len(profile.bottom)
            if width + 2 * margin > grid:
                continue
            weight = level * grid // 8
            x, y, waste = drop(horizon, _dilate(profile.bottom, gap), margin, grid - margin - width, gap, weight)
            if y + profile.height + margin > grid:
                continue
            cost = (y + profile.height) * weight + waste
            if best is None or cost < best[0]:
                best = (cost, quarter, x, y, profile)
        if best is None:
            return None
        _, turn[index], x, y, profile = best
        origin[index] = x, y
        span = horizon[x + gap : x + gap + len(profile.top)]
        np.maximum(span, y + profile.top, out=span)
    return _turned(profiles.local, cells, profiles.point_chart, turn) + origin[profiles.point_chart]


def _quarter_turns(upright: Profile, swapped: Profile) -> tuple[Profile, Profile, Profile, Profile]:
    """Profiles after 0, 1, 2 and 3 quarter turns (x, y) -> (H - y, x); ``swapped`` has x and y exchanged."""
    height, width = upright.height, swapped.height
    return (
        upright,
        Profile(swapped.bottom[::-1], swapped.top[::-1]),
        Profile(height - upright.top[::-1], height - upright.bottom[::-1]),
        Profile(width - swapped.top, width - swapped.bottom),
    )


def _turned(local: Array, cells: Array, point_chart: Array, turn: Array) -> Array:
    x, y = local[:, 0], local[:, 1]
    width, height = cells[point_chart, 0], cells[point_chart, 1]
    quarter = turn[point_chart]
    turned_x = np.select((quarter == 0, quarter == 1, quarter == 2), (x, height - y, width - x), y)
    turned_y = np.select((quarter == 0, quarter == 1, quarter == 2), (y, x, height - y), width - x)
    return np.stack((turned_x, turned_y), axis=1)


def outline_profiles(local: Array, rim: Array, point_chart: Array, cells: Array) -> list[Profile]:
    """The profile of every chart from its boundary edges ``rim`` (B, 2), conservative to whole cells.

    ``local`` (P, 2) are cell coordinates that start at 0 in every chart; ``cells`` (C, 2) their columns and rows.
    """
    start = np.concatenate(([0], np.cumsum(cells[:, 0])))
    a, b = local[rim[:, 0]], local[rim[:, 1]]
    swap = a[:, 0] > b[:, 0]
    a, b = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    chart = point_chart[rim[:, 0]]
    last_column = cells[chart, 0] - 1
    first = np.clip(np.floor(a[:, 0]).astype(np.int64), 0, last_column)
    last = np.clip(np.ceil(b[:, 0]).astype(np.int64) - 1, first, last_column)
    repeat = last - first + 1
    edge = np.repeat(np.arange(len(rim)), repeat)
    column = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    run = b[:, 0] - a[:, 0]
    slope = (b[:, 1] - a[:, 1]) / np.where(run > 1e-12, run, 1.0)
    level = run <= 1e-12
    ends = []
    for side in (column, column + 1):
        x = np.clip(side, a[edge, 0], b[edge, 0])
        ends.append(a[edge, 1] + (x - a[edge, 0]) * slope[edge])
    low = np.where(level[edge], np.minimum(a[edge, 1], b[edge, 1]), np.minimum(*ends))
    high = np.where(level[edge], np.maximum(a[edge, 1], b[edge, 1]), np.maximum(*ends))
    slot = start[chart[edge]] + column
    bottom = np.full(start[-1], np.iinfo(np.int64).max)
    top = np.full(start[-1], -1, dtype=np.int64)
    np.minimum.at(bottom, slot, np.floor(low + 1e-9).astype(np.int64))
    np.maximum.at(top, slot, np.ceil(high - 1e-9).astype(np.int64))
    rows = np.repeat(cells[:, 1], cells[:, 0])
    empty = top < 0
    bottom, top = np.where(empty, 0, np.clip(bottom, 0, rows - 1)), np.where(empty, rows, np.clip(top, 1, rows))
    top = np.maximum(top, bottom + 1)
    return [Profile(bottom[s:e], top[s:e]) for s, e in pairwise(start)]


def _dilate(bottom: Array, gap: int) -> Array:
    """The lower outline lowered by ``gap`` and spread over ``gap`` more columns on either side."""
    if gap == 0:
        return np.ascontiguousarray(bottom)
    padded = np.pad(bottom, 2 * gap, constant_values=np.iinfo(np.int32).max)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * gap + 1).min(1) - gap


@kernel
def _drop_numba(horizon, bottom, first, last, gap, weight):  # type: ignore[no-untyped-def]
    best_x, best_y, best_waste, best_cost = -1, 0, 0, -1
    for x in range(first, last + 1):
        y = horizon[x] - bottom[0]
        for j in range(1, bottom.shape[0]):
            rest = horizon[x + j] - bottom[j]
            if rest > y:
                y = rest
        waste = 0
        for j in range(gap, bottom.shape[0] - gap):
            waste += y + bottom[j] - horizon[x + j]
        cost = y * weight + waste
        if best_cost < 0 or cost < best_cost:
            best_x, best_y, best_waste, best_cost = x, y, waste, cost
    return best_x, best_y, best_waste


def _drop_numpy(horizon: Array, bottom: Array, first: int, last: int, gap: int, weight: int) -> tuple[int, int, int]:
    windows = np.lib.stride_tricks.sliding_window_view(horizon, len(bottom))[first : last + 1]
    y = (windows - bottom).max(1)
    inner = slice(gap, len(bottom) - gap)
    sums = np.concatenate(([0], np.cumsum(horizon)))
    starts = np.arange(first, last + 1)
    covered = sums[starts + len(bottom) - gap] - sums[starts + gap]
    waste = y * (len(bottom) - 2 * gap) + bottom[inner].sum() - covered
    cost = y * weight + waste
    best = int(cost.argmin())
    return first + best, int(y[best]), int(waste[best])
