"""The loss of a run as a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 36, 48
INK, FAINT, GRID = (30, 60, 160), (180, 195, 230), (225, 225, 225)
TEXT = (60, 60, 60)
SMOOTHING = 0.9  # of the exponential average


def read_losses(log: Path) -> list[tuple[int, float]]:
    """(step, loss) from a run's log in order; where a step is there twice, as after a broken-off run, the later one."""
    losses: dict[int, float] = {}
    if log.is_file():
        for line in log.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            losses[int(entry["step"])] = float(entry["loss"])
    return sorted(losses.items())


def draw_loss_curve(log: Path, picture: Path) -> None:
    """Draws the losses of ``log`` over the steps, logarithmically, with their running average, if there are some."""
    losses = [(step, loss) for step, loss in read_losses(log) if loss > 0.0 and math.isfinite(loss)]
    if not losses:
        return
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    canvas = ImageDraw.Draw(image)
    last = losses[-1][0]
    low = math.log10(min(loss for _, loss in losses)) - 0.05
    high = math.log10(max(loss for _, loss in losses)) + 0.05

    def place(step: float, loss: float) -> tuple[float, float]:
        across = step / last * (WIDTH - LEFT - RIGHT)
        up = (math.log10(loss) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up

    for index in range(5):
        loss = 10 ** (low + (high - low) * index / 4)
        _, y = place(0, loss)
        canvas.line([(LEFT, y), (WIDTH - RIGHT, y)], fill=GRID)
        canvas.text((8, y - 6), f"{loss:.4g}", fill=TEXT)
        x, _ = place(last * index / 4, loss)
        canvas.text((x - 10, HEIGHT - BOTTOM + 8), str(round(last * index / 4)), fill=TEXT)
    canvas.text((LEFT, 10), "flow-matching loss over steps; dark: running average", fill=TEXT)
    smooth, average = [], losses[0][1]
    for index, (step, loss) in enumerate(losses):
        keep = min(SMOOTHING, index / (index + 1))
        average = keep * average + (1.0 - keep) * loss
        smooth.append((step, average))
    for points, color, thickness in ((losses, FAINT, 1), (smooth, INK, 3)):
        spots = [place(step, loss) for step, loss in points]
        if len(spots) > 1:
            canvas.line(spots, fill=color, width=thickness, joint="curve")
        x, y = spots[-1]
        canvas.ellipse([x - 3, y - 3, x + 3, y + 3], fill=color)
    image.save(picture)
