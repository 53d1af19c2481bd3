"""The extension loads what it can and leaves the user's files alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import bundle3d.nodes
import pytest
from bundle3d.nodes import examples


def test_a_broken_file_costs_its_own_nodes_only(
    extension: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bundle3d.nodes, "NODE_FILES", ("split_bundle", "no_such_file", "join_bundle"))
    with caplog.at_level(logging.ERROR):
        nodes = asyncio.run(extension.get_node_list())
    assert [node.GET_SCHEMA().node_id for node in nodes] == ["Bundle3D_SplitBundle", "Bundle3D_JoinBundle"]
    assert "nodes/no_such_file.py" in caplog.text


def test_examples_come_into_the_input_folder_once(extension: Any, folders: Path) -> None:
    mine = folders / "input" / "bundle3d_figure.png"
    mine.write_bytes(b"my own file")
    asyncio.run(extension.on_load())
    names = sorted(path.relative_to(folders / "input").as_posix() for path in (folders / "input").rglob("*.*"))
    assert names == [
        "3d/bundle3d_rocket.glb",
        "3d/bundle3d_torus.glb",
        "bundle3d_figure.png",
        "bundle3d_painted.png",
        "bundle3d_photo.png",
        "bundle3d_views.png",
    ]
    assert mine.read_bytes() == b"my own file"


def test_a_folder_that_cannot_be_written_does_not_stop_loading(
    extension: Any, folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(examples.shutil, "copyfile", refuse)
    asyncio.run(extension.on_load())
    assert "could not put the example" in caplog.text
