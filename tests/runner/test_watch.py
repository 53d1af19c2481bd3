"""What is shown of a running job."""

from __future__ import annotations

import io

import pytest
from bundle3d.pipelines.runner import watch
from bundle3d.pipelines.runner.watch import Display


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: seconds[0])
    return seconds


def test_a_log_gets_a_line_per_node_and_one_a_minute(clock: list[float]) -> None:
    stream = io.StringIO()
    display = Display(stream)
    for seconds, share in ((101.0, 0.0), (159.0, 0.3), (161.0, 0.31), (200.0, 0.5), (222.0, 0.6)):
        clock[0] = seconds
        display.now("Generate", share)
    clock[0] = 280.0
    display.done("Generate: 180.0 s")
    display.now("Save", None)
    assert stream.getvalue() == "[  61.0 s] Generate  31%\n[ 122.0 s] Generate  60%\n[ 180.0 s] Generate: 180.0 s\n"


def test_a_terminal_shows_every_change_in_one_line(clock: list[float]) -> None:
    stream = Terminal()
    display = Display(stream)
    display.now("Generate", 0.5)
    display.done("Generate: 0.0 s")
    assert stream.getvalue() == "\r\x1b[K[   0.0 s] Generate  50%\r\x1b[K[   0.0 s] Generate: 0.0 s\n"
