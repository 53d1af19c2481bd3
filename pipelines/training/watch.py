"""What a person sees of a long run, and how that person ends it without losing it."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

FIRST_STEPS = 3  # what the first estimate of the time is made from
SECONDS_BETWEEN_LINES = 30.0


class Watch:
    """Progress in lines: the time that a run will take after its first steps, and how far it is twice a minute.

    On a terminal the last line is rewritten at every step.
    """

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self.what, self.stream = what, stream or sys.stderr
        self.stopping = False
        self._live = self.stream.isatty()
        self._first: tuple[int, float] | None = None
        self._said = 0.0

    def __call__(self, done: int, total: int, preview: object = None) -> None:
        if self.stopping:
            raise KeyboardInterrupt
        now = time.monotonic()
        if self._first is None:
            self._first, self._said = (done, now), now
            return
        steps = max(done - self._first[0], 1)
        per_step = (now - self._first[1]) / steps
        line = f"{self.what} {done} of {total}, {per_step:.3g} s each, about {_minutes(per_step * (total - done))} left"
        if steps == FIRST_STEPS or done == total or now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            print(f"\r\x1b[K{line}" if self._live else line, file=self.stream, flush=True)
        elif self._live:
            print(f"\r\x1b[K{line}", end="", file=self.stream, flush=True)

    def stop(self) -> None:
        """The next call ends the run."""
        self.stopping = True


@contextlib.contextmanager
def stoppable(watch: Watch) -> Iterator[None]:
    """Ctrl-C ends the run at the end of a step, so that its state is whole; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        if watch.stopping:
            raise KeyboardInterrupt
        watch.stop()
        print("Ending after this step; Ctrl-C again ends at once.", file=watch.stream, flush=True)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _minutes(seconds: float) -> str:
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"
