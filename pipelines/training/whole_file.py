"""Files that are whole or not there at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write to that becomes ``path`` at the end; a call that breaks off leaves nothing under that name."""
    unfinished = path.with_suffix(".part")
    yield unfinished
    unfinished.replace(path)
