"""Check Models: looks where ComfyUI looks, and says what it found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bundle3d.nodes import check_models
from bundle3d.pipelines.checkpoints.registry import REGISTRY
from safetensors.torch import save_file

Run = Callable[..., Any]
TEXT = "Text to 3D"


@pytest.fixture
def models(nodes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """ComfyUI's models folder, empty, with an extra folder for LoRAs beside it."""
    import folder_paths

    folder = tmp_path / "models"
    known = {kind: ([str(folder / kind)], set()) for kind in folder_paths.folder_names_and_paths}
    known["loras"] = ([str(folder / "loras"), str(tmp_path / "more loras")], set())
    monkeypatch.setattr(folder_paths, "models_dir", str(folder))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    yield folder


def test_missing_models_are_listed_with_where_they_go(run: Run, models: Path) -> None:
    report, ready, figures = run("Bundle3D_CheckModels").args
    assert not ready
    assert "models/checkpoints/flux1-dev-fp8.safetensors" in report and "models/loras/rgb_normal.safetensors" in report
    data = json.loads(figures)
    assert data["stage"] == "text-to-3d"
    assert {entry["state"] for entry in data["checkpoints"]} == {"missing"}


def test_extra_model_paths_and_folders_of_the_pack_are_searched(run: Run, models: Path) -> None:
    for path in (models.parent / "more loras" / "rgb_normal.safetensors", models / "bundle3d" / "prm_final_ckpt.ckpt"):
        path.parent.mkdir(parents=True)
        (save_file if path.suffix == ".safetensors" else torch.save)({"w": torch.zeros(3)}, path)
    figures = json.loads(run("Bundle3D_CheckModels", stage="Image to 3D")[2])
    present = {entry["name"] for entry in figures["checkpoints"] if entry["state"] == "present"}
    assert present == {"Kiss3DGen LoRA", "PRM reconstruction model"}


def test_every_stage_can_be_checked(run: Run, models: Path) -> None:
    for stage in REGISTRY.stages.values():
        output = run("Bundle3D_CheckModels", stage=stage.title)
        assert output[0].startswith(stage.title)
        assert output.ui == {"text": [output[0]]}


def test_results_are_not_kept_from_an_earlier_run(nodes: dict[str, Any]) -> None:
    node = nodes["Bundle3D_CheckModels"]
    first = node.fingerprint_inputs(stage=TEXT, verify=False)
    assert any(node.fingerprint_inputs(stage=TEXT, verify=False) != first for _ in range(1000))


def test_the_report_is_shown_on_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []
    server = SimpleNamespace(instance=SimpleNamespace(send_progress_text=lambda text, node: shown.append((text, node))))
    monkeypatch.setitem(check_models.sys.modules, "server", SimpleNamespace(PromptServer=server))
    check_models.show_on_node("all there", "7")
    check_models.show_on_node("no node", None)
    monkeypatch.setitem(check_models.sys.modules, "server", SimpleNamespace(PromptServer=SimpleNamespace()))
    check_models.show_on_node("no browser", "7")
    assert shown == [("all there", "7")]
