"""How a long computation reports where it is and how it is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

Preview = Callable[[], torch.Tensor]  # called only when a picture is wanted; returns (H, W, 3) float in [0, 1]


class Progress(Protocol):
    """Called after every unit of work; cancels the computation by raising."""

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None: ...


def silent(done: int, total: int, preview: Preview | None = None) -> None:
    """The progress of a computation that nobody watches."""


class Stage:
    """A slice of a larger computation, so that parts count into one bar.

    ``Stage(progress, start, stop, total)`` maps a part's own ``done / part_total`` onto ``start..stop`` of ``total``.
    """

    def __init__(self, progress: Progress, start: int, stop: int, total: int) -> None:
        self.progress, self.start, self.stop, self.total = progress, start, stop, total

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        share = done / total if total else 1.0
        self.progress(self.start + round((self.stop - self.start) * share), self.total, preview)
