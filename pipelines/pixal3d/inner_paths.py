"""Paths that a settings file names: only such as stay inside of its own folder."""

from __future__ import annotations

from pathlib import PureWindowsPath


def stays_inside(name: str) -> bool:
    """Whether the path ``name``, with forward slashes, stays inside of any folder that it is joined to.

    It is judged alike on every system. On Windows a path may leave a folder without being absolute: by a drive or by a
    leading slash alone.
    """
    path = PureWindowsPath(name)
    return not (path.anchor or {"\\", ":"} & {*name} or ".." in path.parts)
