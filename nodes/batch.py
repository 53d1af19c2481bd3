"""Batches: every item is worked on alone, so that it comes out as it would have without the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..pipelines.errors import Bundle3DError
from ..pipelines.progress import Progress
from .compute import within_memory
from .progress import NodeProgress, item_progress

First = TypeVar("First")
Second = TypeVar("Second")
Item = TypeVar("Item")
Setting = TypeVar("Setting")
Result = TypeVar("Result")


def map_batch(
    items: Sequence[Item],
    work: Callable[[Item, Setting, Progress], Result],
    settings: Sequence[Setting],
    advice: str,
) -> list[Result]:
    """``work`` on every item, with the first of ``settings``, ordered from large to small, that fits into memory.

    ``work`` is told the setting; ``halved`` makes them of a number, and ``lowered`` tells the user which one it was.
    Raises Bundle3DError with ``advice``, on what to change, where not even the last one fits.
    """
    progress = NodeProgress()

    def one(index: int, item: Item) -> Result:
        share = item_progress(progress, index, len(items))
        return within_memory(lambda setting: work(item, setting, share), settings, advice)

    return [one(index, item) for index, item in enumerate(items)]


def halved(asked: int, least: int = 1) -> list[int]:
    """``asked`` and, for where it does not fit into memory, half of it, but not less than ``least``."""
    return [asked, max(asked // 2, least)] if asked > least else [asked]


def lowered(what: str, asked: int, used: int) -> list[str]:
    """The line of a report on a setting that had to be lowered for want of memory; none where ``used`` was asked."""
    return [] if used == asked else [f"Memory ran out with {what} {asked:,}, so this was made with {used:,}."]


def paired(first: Sequence[First], second: Sequence[Second] | None, what: str) -> list[tuple[First, Second | None]]:
    """Items of two batches that belong together; a batch of one, or none at all, goes with every item of the other.

    ``what`` tells in the refusal what the batches hold, such as "views and meshes".
    """
    partners: Sequence[Second | None] = (None,) if second is None else second
    count = max(len(first), len(partners))
    if len(first) not in (1, count) or len(partners) not in (1, count):
        raise Bundle3DError(
            f"Expected batches of the same size, or one item in either, but got {what} in batches of {len(first)} and "
            f"{len(partners)}; give one for each."
        )
    return [(first[i % len(first)], partners[i % len(partners)]) for i in range(count)]
