"""What cancelled runs of a workflow leave in the server's memory.

    python benchmarks/cancelled_runs.py "workflows/Image to 3D (Pixal3D).json" [--set "Node title.input=value" ...]
        --seed "Sample structure.seed" [--cancels 10]

The workflow is run whole twice in a real ComfyUI of its own, then cancelled at ten moments spread over its duration,
each time with another seed, then run whole once more. rss_mb: the process's resident memory after each run; growth:
after the last cancel over after the second whole run, as a ratio.

glibc, where it allocates, is told to give freed memory back, so that resident memory tells what is held. Otherwise it
keeps freed blocks between used ones, as users have it: ``--keep-freed`` shows that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from bundle3d.benchmarks import measure
from bundle3d.pipelines.runner.client import CancelledError
from bundle3d.pipelines.runner.run import run_workflow
from bundle3d.pipelines.runner.server import ComfyServer

SETTLE = 2.0  # seconds after a run, in which ComfyUI collects its garbage
MOST_GROWTH = 1.05
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}


async def cancelled(run: Any, after: float) -> bool:
    """Starts a run and takes it off the server after so many seconds; whether it was still running then.

    Raises what the run raises by itself.
    """
    task = asyncio.create_task(run)
    await asyncio.wait([task], timeout=after)
    still = not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, CancelledError):
        await task
    return still


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="Node title.input=value")
    parser.add_argument("--seed", required=True, help="the input, as 'Node title.input', that makes runs differ")
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--keep-freed", action="store_true", help="leave glibc as it is")
    given = parser.parse_args()
    if not given.keep_freed:
        os.environ.update(GIVE_BACK)
    settings = dict(setting.split("=", 1) for setting in given.settings)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, ComfyServer(only_this_pack=True) as server:
        assert server.process is not None
        process = psutil.Process(server.process.pid)

        def run(seed: int) -> Any:
            own = {**settings, given.seed: str(seed)}
            return run_workflow(given.workflow, own, Path(folder) / str(seed), server.url, alive=server.alive)

        def note(kind: str, seconds: float) -> None:
            time.sleep(SETTLE)
            rows.append({"run": kind, "seconds": round(seconds, 1), "rss_mb": process.memory_info().rss >> 20})
            print(rows[-1], flush=True)

        whole = 0.0
        for seed in range(2):
            whole = asyncio.run(run(seed))["seconds"]
            note("whole", whole)
        before = rows[-1]["rss_mb"]
        for number in range(given.cancels):
            after = whole * (number + 0.5) / given.cancels
            note("cancelled" if asyncio.run(cancelled(run(2 + number), after)) else "too late", after)
        growth = round(rows[-1]["rss_mb"] / before, 4)
        note("whole", asyncio.run(run(2 + given.cancels))["seconds"])
    late = sum(row["run"] == "too late" for row in rows)
    if 2 * late > given.cancels:
        raise SystemExit(f"{late} of {given.cancels} runs had ended before they were cancelled: nothing is shown.")
    verdict = "reaches" if growth <= MOST_GROWTH else "MISSES"
    print(f"growth {growth} {verdict} {MOST_GROWTH}")
    name = "cancelled_runs-keep_freed" if given.keep_freed else "cancelled_runs"
    print(measure.write(name, rows, workflow=given.workflow.name, settings=settings, growth=growth))


if __name__ == "__main__":
    main()
