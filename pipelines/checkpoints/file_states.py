"""What tells that weights have changed, without reading them."""

from __future__ import annotations

from pathlib import Path


def file_states(path: Path) -> list[tuple[str, int, int]]:
    """Name, time and size of a file, or of every file in a folder; empty where there is none."""
    found = sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]
    states = [(part, part.stat()) for part in found if part.exists()]
    return [(part.name, state.st_mtime_ns, state.st_size) for part, state in states]
