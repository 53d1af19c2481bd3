"""What is refused before a ComfyUI is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner import command
from bundle3d.pipelines.runner.check_settings import EXAMPLES, check_settings
from bundle3d.pipelines.runner.server import ComfyServer

WORKFLOWS = EXAMPLES.parent
FIGURE = WORKFLOWS / "Bundle image to mesh.json"


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", [WORKFLOWS, WORKFLOWS / "api"])
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("Pompt.text", "a"), r"No node has the title in 'Pompt.text'; the titles are: .*Prompt"),
        (("Prompt.txt", "a"), r"'Prompt' has no input 'txt'; its inputs are: text"),
        (("Load models.lora.x", "a"), r"'Load models' has no input 'lora.x'"),
    ],
)
def test_wrong_titles_and_inputs_are_refused(folder: Path, setting: tuple[str, str], words: str) -> None:
    with pytest.raises(Bundle3DError, match=words):
        check_settings(read(folder / "Text to 3D.json"), dict([setting]))


@pytest.mark.parametrize("folder", [WORKFLOWS, WORKFLOWS / "api"])
def test_a_file_that_is_nowhere_is_refused(folder: Path) -> None:
    words = "chair.png is neither a local file nor in ComfyUI's input folder"
    with pytest.raises(Bundle3DError, match=words):
        check_settings(read(folder / FIGURE.name), {"Bundle image.image": "chair.png"})
    with pytest.raises(Bundle3DError, match="neither a local file"):
        check_settings(read(folder / "Mesh to bundle and back.json"), {"Mesh file.model_file": "3d/chair.glb"})


@pytest.mark.parametrize("start", ["ü" * 600, "plain text"])
def test_a_text_file_is_refused_as_a_picture(tmp_path: Path, start: str) -> None:
    page = tmp_path / "chair.png"
    page.write_text(start, encoding="utf-8")
    with pytest.raises(Bundle3DError, match=r"should name a picture, but .*chair.png holds text"):
        check_settings(read(FIGURE), {"Bundle image.image": str(page)})
    check_settings(read(WORKFLOWS / "Mesh to bundle and back.json"), {"Mesh file.model_file": str(page)})


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x00\x00\x00\x00WEBP", b"BM\x00"])
def test_pictures_are_no_text(tmp_path: Path, content: bytes) -> None:
    picture = tmp_path / "chair.png"
    picture.write_bytes(content)
    check_settings(read(FIGURE), {"Bundle image.image": str(picture)})


def test_what_works_is_let_pass(tmp_path: Path) -> None:
    picture = tmp_path / "chair.png"
    picture.write_bytes(b"")
    check_settings(
        read(FIGURE),
        {
            "bundle image.image": str(picture),
            "2.image": "bundle3d_figure.png",
            "Save turntable.filename_prefix": "v1.0/chair",
            "RECONSTRUCT.seed": "3",
        },
    )


def test_a_title_that_only_comfyui_knows_is_let_pass() -> None:
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "Bundle3D_SplitBundle", "inputs": {"bundle": ["1", 0]}},
    }
    check_settings(graph, {"Load Image.image": "x.png", "Split Bundle.rig": "lrm"})
    with pytest.raises(Bundle3DError, match="has no input 'rigs'"):
        check_settings(graph, {"Split Bundle.rigs": "lrm"})
    assert graph["1"] == {"class_type": "LoadImage", "inputs": {"image": "x.png"}}


def test_the_command_refuses_before_it_starts_comfyui(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ComfyServer, "__enter__", lambda server: pytest.fail("started ComfyUI"))
    call = ["run", str(FIGURE), "--out", str(tmp_path / "out"), "--set"]
    for setting in ("Bundle image.image=chair.png", "Bundle.image=chair.png", "Reconstruct.sed=3"):
        assert command.main([*call, setting]) == 2
        assert capsys.readouterr().err.startswith("bundle3d: ")
    assert not (tmp_path / "out").exists()
