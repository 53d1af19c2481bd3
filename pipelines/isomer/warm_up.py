"""Compiling the kernels of a computation before it starts, so that it can be cancelled meanwhile.

A kernel is compiled when it is first called, which takes seconds in which nothing reports.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor, wait

import torch

from ..progress import Progress
from ..views.rig import named_rig
from ..views.view_set import ViewSet

INTERVAL = 0.1  # seconds between two reports
RADIUS = 0.25  # of the disc, in half images; small, for edges have a fixed length in the world

_warm: set[Hashable] = set()


def warm_up(work: Callable[[], object], key: Hashable, progress: Progress) -> None:
    """Run ``work`` in another thread, once per process and ``key``, and report while it lasts.

    What ``work`` raises is raised. Where ``progress`` raises, the thread is left to end on its own.
    """
    if key in _warm:
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="warm-up")
    future = pool.submit(work)
    pool.shutdown(wait=False)
    while not wait((future,), INTERVAL).done:
        progress(0, 1)
    future.result()
    _warm.add(key)


def smallest_views(size: int = 32) -> ViewSet:
    """A white disc seen from all sides: enough for every kernel to have something to do."""
    rig = named_rig("kiss3dgen")
    axis = (torch.arange(size) + 0.5) * (2.0 / size) - 1.0
    mask = (axis[:, None].square() + axis.square() < RADIUS**2).float().expand(len(rig), size, size).contiguous()
    normal = rig.rotations()[:, None, None, 2] * mask[..., None]
    return ViewSet(torch.ones_like(normal), normal, mask, rig)
