"""Finds the files and texts that a finished job has produced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class OutputFile:
    """One file on the server, with the node that reported it."""

    node: str
    kind: str  # the key under which the node reported it: images, 3d, result, ...
    filename: str
    subfolder: str
    folder: str  # output or temp

    @property
    def is_preview(self) -> bool:
        """Whether the file is only there to be looked at: a temporary one, or the copy that Preview3D leaves behind."""
        return self.folder != "output" or (self.kind == "result" and self.filename.startswith("preview3d_"))


def output_files(outputs: dict[str, Any]) -> Iterator[OutputFile]:
    """Every file in the ``outputs`` of a history entry, each once, in every shape that core and 3D nodes use.

    Most nodes give ``{"filename", "subfolder", "type"}``; Preview3D and Save3DAdvanced give
    ``result: ["3d/name.glb [temp]", ...]``.
    """
    seen = set()
    for node, output in outputs.items():
        for kind, items in output.items():
            for item in items if isinstance(items, list) else []:
                found = None
                if isinstance(item, dict) and item.get("filename"):
                    found = (item["filename"], item.get("subfolder") or "", item.get("type") or "output")
                elif kind == "result" and isinstance(item, str) and PurePosixPath(item.split(" [")[0]).suffix:
                    name, _, folder = item.partition(" [")
                    path = PurePosixPath(name.replace("\\", "/"))
                    found = (
                        path.name,
                        "" if str(path.parent) == "." else str(path.parent),
                        folder.rstrip("]") or "output",
                    )
                if found is not None and found not in seen:
                    seen.add(found)
                    yield OutputFile(node, kind, *found)


def output_texts(outputs: dict[str, Any]) -> dict[str, list[str]]:
    """The texts that nodes show, by node id."""
    texts = {}
    for node, output in outputs.items():
        lines = [item for item in output.get("text") or [] if isinstance(item, str)]
        if lines:
            texts[node] = lines
    return texts
