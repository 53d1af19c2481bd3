"""The benchmark of Pixal3D's stages: published sizes, and the command runs with small networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bundle3d.benchmarks import pixal3d
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.errors import Bundle3DError

ROOT = Path(__file__).resolve().parents[2]


def test_its_networks_are_those_of_the_published_sizes() -> None:
    models = pixal3d.published()
    assert (models.coarse_resolution, models.resolution, models.factor) == (512, 1024, 16)
    for name, count in (("structure", 1_339_411_976), ("fine_shape", 1_386_671_648), ("texture", 1_386_720_800)):
        flow = getattr(models, name).flow.module
        assert sum(parameter.numel() for parameter in flow.parameters()) == count
    with pytest.raises(RuntimeError, match="should not need"):
        models.structure.flow.use()


def test_its_spheres_are_as_large_as_it_says() -> None:
    assert [len(pixal3d.sphere(resolution)) for resolution in (32, 64)] == [3272, 12176]


def test_the_command_runs_with_small_networks() -> None:
    try:
        find_comfyui()
    except Bundle3DError as error:
        pytest.skip(str(error))
    results = set((ROOT / "benchmarks" / "results").iterdir())
    command = [sys.executable, ROOT / "benchmarks" / "pixal3d.py", "--small", "--steps", "2", "--views", "2"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    last = "second" if torch.cuda.is_available() else "once"
    for stage in pixal3d.STAGES:
        assert f"'{stage}, {last}', 'resolution': 64, 'steps': 2, 'views': 2" in done.stdout
    assert set((ROOT / "benchmarks" / "results").iterdir()) == results
