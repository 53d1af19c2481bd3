"""Every shape in which nodes report files and texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundle3d.pipelines.runner.outputs import OutputFile, output_files, output_texts
from bundle3d.pipelines.runner.run import free_name, remove_previews, safe_name
from bundle3d.pipelines.runner.watch import NodeTimes

OUTPUTS = {
    "2": {"3d": [{"filename": "x_00001_.glb", "subfolder": "3d", "type": "output"}]},
    "4": {"result": ["preview3d_1.glb", None, None]},
    "5": {"result": ["3d/cnt_00001.glb [temp]", None, []]},
    "6": {"images": [{"filename": "a.png", "subfolder": "", "type": "temp"}], "animated": [True]},
    "7": {"text": ["watertight: yes"], "images": [{"filename": "x_00001_.glb", "subfolder": "3d", "type": "output"}]},
}


def test_files_are_found_once_each() -> None:
    assert list(output_files(OUTPUTS)) == [
        OutputFile("2", "3d", "x_00001_.glb", "3d", "output"),
        OutputFile("4", "result", "preview3d_1.glb", "", "output"),
        OutputFile("5", "result", "cnt_00001.glb", "3d", "temp"),
        OutputFile("6", "images", "a.png", "", "temp"),
    ]


def test_previews_are_told_apart() -> None:
    assert [file.is_preview for file in output_files(OUTPUTS)] == [False, True, True, True]


def test_texts_are_found() -> None:
    assert output_texts(OUTPUTS) == {"7": ["watertight: yes"]}


def test_names_cannot_leave_the_folder() -> None:
    assert [safe_name(name) for name in ("a/b.png", "..\\..\\b.png", "..", "c:evil", "x.glb")] == [
        "b.png", "b.png", "output", "c_evil", "x.glb",
    ]  # fmt: skip


def test_seconds_go_to_the_node_that_people_see() -> None:
    times = NodeTimes()
    for second, (kind, more) in enumerate(
        [
            ("execution_cached", {"nodes": ["1"]}),
            ("executing", {"node": "2"}),
            ("executing", {"node": "2.0.1", "display_node": "2"}),
            ("executing", {"node": "3"}),
            ("execution_success", {}),
        ]
    ):
        times.take({"type": kind, "data": {"prompt_id": "p", **more}}, "p", float(second))
        times.take({"type": "executing", "data": {"prompt_id": "another", "node": "9"}}, "p", float(second))
    assert times.seconds == {"2": 2.0, "3": 1.0} and times.cached == {"1"} and times.current is None


def test_a_taken_name_is_changed_until_it_is_free(tmp_path: Path) -> None:
    taken: set[str] = set()
    names = [free_name(name, "7", tmp_path, taken) for name in ("a.png", "A.png", "a.PNG", "a.png")]
    assert names == ["a.png", "7-A.png", "7-2-a.PNG", "7-3-a.png"]
    assert free_name("a.png", "7", tmp_path / "previews", taken) == "a.png"


def test_only_the_previews_of_the_run_before_are_removed(tmp_path: Path) -> None:
    for name in ("old.glb", "previews/old.png", "previews/users.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    rows = [{"file": name} for name in ("old.glb", "previews/old.png", "previews/gone.png", "previews/../old.glb")]
    (tmp_path / "result.json").write_text(json.dumps({"files": rows}))
    remove_previews(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"result.json", "old.glb", "previews/users.png"}


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": [{}]}'])
def test_a_broken_result_of_the_run_before_does_no_harm(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    remove_previews(tmp_path)
