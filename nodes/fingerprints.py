"""What tells ComfyUI that a node which reads files has to run again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..pipelines.checkpoints.file_states import file_states


def states_of(find: Callable[[str], Path | None], choice: str | None) -> list[tuple[str, int, int]]:
    """The states of what ``find`` finds for a widget's ``choice``; none where that is nothing, or the widget is linked.

    ComfyUI asks before any node runs and gives None for what others will say. Were it refused, it would run the node at
    every queue; that the others say something new it notices by itself.
    """
    path = None if choice is None else find(choice)
    return [] if path is None else file_states(path)
