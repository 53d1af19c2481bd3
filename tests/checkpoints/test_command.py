"""The command `bundle3d models`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundle3d.pipelines.checkpoints.registry import CHECKPOINTS, REGISTRY
from bundle3d.pipelines.runner.command import main


def test_a_stage_without_its_models_exits_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--stage", "text-to-3d", "--models-dir", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "models/loras/rgb_normal.safetensors" in output and "Needed" in output


def test_a_stage_that_needs_nothing_exits_with_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--stage", "selfi", "--models-dir", str(tmp_path), "--json", "--verify"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ready"] and data["machine"]["cores"] >= 1


def test_without_a_stage_every_checkpoint_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--models-dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert all(checkpoint.name in output for checkpoint in CHECKPOINTS)
    lines = output.splitlines()[-len(CHECKPOINTS) :]
    assert [line.endswith("not used by this version") for line in lines] == [not entry.used for entry in CHECKPOINTS]
    assert main(["models", "--models-dir", str(tmp_path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["checkpoints"]
    assert [entry["name"] for entry in listed] == [checkpoint.name for checkpoint in CHECKPOINTS]


def test_a_wrong_call_exits_with_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--models-dir", str(tmp_path / "nowhere")]) == 2
    assert "correct --models-dir" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["models", "--stage", "text-to-4d"])
    assert stop.value.code == 2
    choices = capsys.readouterr().err
    assert all(stage in choices for stage in REGISTRY.stages)


def test_the_command_line_starts_without_torch() -> None:
    program = "import sys; import bundle3d.pipelines.runner.command; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
