"""The demo reconstruction model: a few steps of everything through the command, loaded as any other checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.lrm.load import load_lrm
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training import demo_lrm
from bundle3d.pipelines.training.dataset import read_dataset
from bundle3d.pipelines.training.demo_lrm import (
    CONFIG,
    as_if_drawn,
    field_loss,
    new_lrm,
    train_lrm,
    write_field_samples,
)
from bundle3d.tests.rendering import scenes

BUNDLES, OBJECTS, STEPS = 2, 2, 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The work folder and the target of a run of a few steps."""
    folder = tmp_path_factory.mktemp("lrm")
    work, target = folder / "work", folder / "demo"
    call = ["train", "lrm-demo", "--work", str(work), "--out", str(target)]
    assert main([*call, "--bundles", str(BUNDLES), "--objects", str(OBJECTS), "--steps", str(STEPS)]) == 0
    return work, target


def test_the_file_loads_with_its_dimensions(run: tuple[Path, Path]) -> None:
    model = load_lrm(run[1] / demo_lrm.MODEL)
    assert model.config == CONFIG
    planes = model.planes(torch.ones(1, 4, 3, 128, 128), torch.zeros(1, 4, 16))
    assert planes.shape == (1, 3, CONFIG.plane_channels, 32, 32)
    assert {path.name for path in (run[1] / "training").iterdir()} == {"options.json", "lrm.jsonl", "lrm.png"}


def test_another_run_in_the_same_folder_is_refused(run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    call = ["train", "lrm-demo", "--work", str(run[0]), "--out", str(run[1]), "--bundles", str(BUNDLES)]
    assert main([*call, "--objects", str(OBJECTS), "--steps", str(STEPS + 1)]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_field_samples_lie_in_the_frame_of_the_model(tmp_path: Path) -> None:
    """The model's +Z is our +Y, its front +X our +Z, and its +Y our +X, the object's own left."""
    low, high = torch.tensor((-0.1, -0.8, 0.2)), torch.tensor((0.3, 0.6, 0.9))
    mesh = scenes.box(*((high - low) / 2).tolist())
    mesh = mesh.with_(vertices=mesh.vertices + (low + high) / 2, colors=torch.full((len(mesh.vertices), 3), 0.5))
    write_field_samples(tmp_path / "field.npy", lambda: mesh, np.random.default_rng(0))
    rows = np.load(tmp_path / "field.npy").astype(np.float32)
    inside = rows[rows[:, 3] < 0.0, :3]
    order = [2, 0, 1]
    np.testing.assert_allclose(inside.min(0), low[order], atol=0.02)
    np.testing.assert_allclose(inside.max(0), high[order], atol=0.02)


def test_training_learns(run: tuple[Path, Path], tmp_path: Path) -> None:
    bundles = read_dataset(run[0] / "dataset")[:1]
    fields = [run[0] / "fields" / "dataset-00000.npy"]
    small = replace(
        CONFIG, encoder_layers=1, layers=1, encoder_width=32, encoder_hidden=32, width=32, hidden=32, heads=2
    )
    torch.manual_seed(0)
    model = new_lrm(small)
    rows = torch.from_numpy(np.load(fields[0])).float()[None]
    views = bundles[0].views().permute(0, 3, 1, 2)[None]
    cameras = torch.zeros(1, 4, 16)

    def distance_from_truth() -> float:
        with torch.no_grad():
            return float(field_loss(model, model.planes(views, cameras), rows))

    before = distance_from_truth()
    options = replace(demo_lrm.OPTIONS, steps=12, learning_rate=5e-3, warmup=1, average=0.5)
    train_lrm(model, bundles, fields, tmp_path, options)
    assert distance_from_truth() < 0.8 * before


def test_drawn_views_keep_their_white_and_their_range() -> None:
    images = torch.ones(2, 4, 3, 8, 8)
    images[..., 2:5, 2:5] = 0.4
    drawn = as_if_drawn(images, torch.Generator().manual_seed(0))
    assert bool((drawn[..., :2, :] == 1.0).all()) and float(drawn.min()) >= 0.0
    assert not torch.equal(drawn, images) and float((drawn - images).abs().mean()) < 0.02


def test_a_fresh_model_extracts_at_the_zero_of_its_distance() -> None:
    model = new_lrm()
    features = torch.randn(5, 3 * CONFIG.plane_channels)
    assert not model.decoder.deformation(features).any()
    assert not model.decoder.cube_weights(features.expand(2, 8, 5, -1)[:, :, 0]).any()
