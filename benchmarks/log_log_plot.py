"""Figures over sizes with both axes logarithmic: the slope of a straight line through them, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Series = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 960, 600
LEFT, RIGHT, TOP, BOTTOM = 80, 330, 40, 50
TEXT, GRID = (60, 60, 60), (225, 225, 225)
COLORS = ((30, 60, 160), (200, 60, 40), (40, 140, 70), (150, 80, 170), (220, 140, 20), (70, 160, 180), (120, 120, 120))


def slope(series: Series) -> float:
    """The exponent b of the least-squares fit y = a x^b to positive (x, y)."""
    x, y = np.log(np.asarray(series, dtype=np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def draw(curves: dict[str, Series], title: str, picture: Path) -> None:
    """Draw curves of positive (x, y), each named with its slope."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    canvas = ImageDraw.Draw(image)
    values = [point for series in curves.values() for point in series]
    low_x, high_x = (math.log10(bound(x for x, _ in values)) for bound in (min, max))
    low_y, high_y = (math.log10(bound(y for _, y in values)) for bound in (min, max))
    low_y, high_y = math.floor(low_y), max(math.ceil(high_y), math.floor(low_y) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low_x) / max(high_x - low_x, 1e-9) * (WIDTH - LEFT - RIGHT)
        up = (math.log10(y) - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up

    canvas.text((LEFT, 14), title, fill=TEXT)
    for power in range(low_y, high_y + 1):
        _, height = place(10**low_x, 10.0**power)
        canvas.line([(LEFT, height), (WIDTH - RIGHT, height)], fill=GRID)
        canvas.text((14, height - 6), f"{10.0**power:g}", fill=TEXT)
    for size in sorted({x for x, _ in values}):
        across, _ = place(size, 10.0**low_y)
        canvas.line([(across, TOP), (across, HEIGHT - BOTTOM)], fill=GRID)
        canvas.text((across - 14, HEIGHT - BOTTOM + 10), f"{size:,.0f}", fill=TEXT)
    for index, (name, series) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        spots = [place(x, y) for x, y in series]
        canvas.line(spots, fill=color, width=3, joint="curve")
        for x, y in spots:
            canvas.ellipse([x - 4, y - 4, x + 4, y + 4], fill=color)
        canvas.text((WIDTH - RIGHT + 16, TOP + 22 * index), f"{name}, slope {slope(series):.2f}", fill=color)
    image.save(picture)
