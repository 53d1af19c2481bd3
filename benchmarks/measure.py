"""How every benchmark measures: interleaved runs, medians, peak memory, the machine's own limits, dated results."""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

RESULTS = Path(__file__).resolve().parent / "results"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Timing:
    """Seconds of wall time over some runs, and of processor time in the median run."""

    median: float
    least: float
    processor: float
    runs: int

    def row(self, prefix: str) -> dict[str, float]:
        """Milliseconds, to be merged into a row of a table."""
        return {
            f"{prefix}_ms": round(self.median * 1e3, 3),
            f"{prefix}_least_ms": round(self.least * 1e3, 3),
            f"{prefix}_cpu_ms": round(self.processor * 1e3, 3),
        }


def compare(candidates: dict[str, Callable[[], Any]], runs: int = 7, seconds: float = 20.0) -> dict[str, Timing]:
    """Time the candidates in turn, so that a disturbance meets all of them; at least twice each, at most ``seconds``.

    One call of each before the clock starts pays for compilation and caches.
    """
    for candidate in candidates.values():
        candidate()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    start = time.perf_counter()
    for turn in range(runs):
        if turn >= 2 and time.perf_counter() - start > seconds:
            break
        for name, candidate in candidates.items():
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            candidate()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: Timing(
            statistics.median(wall for wall, _ in times),
            min(wall for wall, _ in times),
            statistics.median(processor for _, processor in times),
            len(times),
        )
        for name, times in taken.items()
    }


def measure(function: Callable[[], Any], runs: int = 7, seconds: float = 20.0) -> Timing:
    """Time one function, see compare."""
    return compare({"it": function}, runs, seconds)["it"]


def peak_bytes() -> int:
    """The largest resident size of this process so far (since the last ``track_peak`` began, where that is known)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def track_peak() -> Iterator[dict[str, int]]:
    """A dictionary that holds, after the block, ``peak`` bytes resident and ``growth`` above the level before it."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # else freed blocks hide what the body takes
        if trim is not None:
            trim(0)
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    before, found = peak_bytes(), {"peak": 0, "growth": 0}
    yield found
    found["peak"] = peak_bytes()
    found["growth"] = found["peak"] - before


@contextmanager
def timed(rows: list[dict[str, Any]], what: str, device: torch.device) -> Iterator[dict[str, Any]]:
    """Adds a row with the seconds and the peaks of resident memory, and of the GPU's, of the block."""
    row: dict[str, Any] = {"what": what}
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    wall, processor = time.perf_counter(), time.process_time()
    with track_peak() as memory:
        yield row
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            row["device_peak_mb"] = torch.cuda.max_memory_reserved(device) >> 20
    row |= {
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),  # what counts where other programs run beside it
        "peak_mb": memory["peak"] >> 20,
    }
    print(row, flush=True)
    rows.append(row)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line.split(":")[1].strip() for line in information.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    found: dict[str, Any] = {
        "processor": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    try:
        import numba

        found["numba"] = numba.__version__
    except ImportError:
        found["numba"] = None
    return found


def finished(work: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """``work`` with the wait for its end, which work on a GPU has after the call comes back."""

    def call() -> None:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return call


def fill_rate(size: int = 256 << 20, device: torch.device = CPU) -> float:
    """Bytes per second at which all cores, or a GPU, write memory that is already mapped."""
    block = torch.empty(size // 4, device=device)
    block.fill_(1.0)
    return size / measure(finished(lambda: block.fill_(2.0), device), runs=7).least


def write(name: str, rows: list[dict[str, Any]], **facts: Any) -> Path:
    """Store rows as ``results/<name>-<date>.json`` together with the machine; returns the path."""
    RESULTS.mkdir(exist_ok=True)
    today = datetime.date.today().isoformat()
    path = RESULTS / f"{name}-{today}.json"
    document = {"benchmark": name, "date": today, "machine": machine(), **facts, "rows": rows}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
