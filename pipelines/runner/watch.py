"""Follows a running job: what it does now, how long each node took, how much memory the server took."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

import psutil

QUIET_SECONDS = 60.0  # after which a running node shows a sign of life where there is no terminal


@dataclass
class NodeTimes:
    """Seconds per node, from the server's messages; parts of an expanded node count for the node that people see."""

    seconds: dict[str, float] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)
    current: str | None = None
    _since: float = 0.0

    def switch(self, node: str | None, now: float) -> None:
        """Another node runs from now on; None when none does."""
        if self.current is not None:
            self.seconds[self.current] = self.seconds.get(self.current, 0.0) + now - self._since
        self.current, self._since = node, now

    def take(self, message: dict[str, Any], prompt_id: str, now: float) -> None:
        """Takes one websocket message into account; messages of other jobs are ignored."""
        data = message.get("data") or {}
        if data.get("prompt_id") != prompt_id:
            return
        kind = message["type"]
        if kind == "execution_cached":
            self.cached.update(data.get("nodes") or [])
        elif kind == "executing":
            node = data.get("display_node") or data.get("node")
            if node != self.current:
                self.switch(node, now)
        elif kind in ("execution_success", "execution_error", "execution_interrupted"):
            self.switch(None, now)


class Display:
    """Prints progress: one rewritten line on a terminal; elsewhere one line per finished node, and one a minute."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.start = self.last_line = time.monotonic()

    def now(self, title: str, share: float | None = None) -> None:
        """The node that runs, and how much of it is done."""
        text = title if share is None else f"{title} {share:4.0%}"
        if self.live:
            print(f"\r\x1b[K[{time.monotonic() - self.start:6.1f} s] {text}", end="", file=self.stream, flush=True)
        elif time.monotonic() - self.last_line >= QUIET_SECONDS:
            self.done(text)

    def done(self, text: str) -> None:
        """A line that stays."""
        self.last_line = time.monotonic()
        start = "\r\x1b[K" if self.live else ""
        print(f"{start}[{self.last_line - self.start:6.1f} s] {text}", file=self.stream, flush=True)


class MemoryPeak:
    """The peak resident memory of a process with its children, in bytes, sampled five times a second from a thread."""

    def __init__(self, pid: int | None) -> None:
        self.bytes: int | None = None
        self._stop = threading.Event()
        self._thread = None
        if pid is not None:
            self._thread = threading.Thread(target=self._sample, args=(psutil.Process(pid),), daemon=True)
            self._thread.start()

    def _sample(self, process: psutil.Process) -> None:
        while True:
            try:
                used = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
                self.bytes = max(self.bytes or 0, used)
            except psutil.Error:
                pass  # the process is ending, or a child of it has just ended
            if self._stop.wait(0.2):
                return

    def stop(self) -> int | None:
        """Ends the sampling and returns the peak; None where there was no process to look at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return self.bytes


def listening_process(port: int) -> int | None:
    """The id of the process of this machine that listens on the port; None where that cannot be told."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for connection in connections:
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and address and address.port == port:
            return int(connection.pid) if connection.pid else None
    return None
