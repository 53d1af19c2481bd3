"""The demo ControlNet: a few steps of everything by the command, resumed, read as published union networks are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.control import Control
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from bundle3d.pipelines.diffusion.models import ControlNet
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training import demo_controlnet
from bundle3d.pipelines.training.base import BaseFiles, open_base
from bundle3d.pipelines.training.dataset import read_dataset
from bundle3d.pipelines.training.demo_controlnet import ControlNetDemoOptions, train_demo_controlnet
from bundle3d.pipelines.training.small_files import WEIGHTS
from bundle3d.tests.support.tiny_flux import tiny_pipeline
from bundle3d.tests.training.test_train_lora import BrokenOffError, until
from diffusers import FluxControlNetModel
from safetensors.torch import load_file

OPTIONS = ControlNetDemoOptions(bundles=2, varied=2, steps=2)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Small batches, and drawings of one step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_controlnet, "OPTIONS", replace(demo_controlnet.OPTIONS, batch=2, validation_steps=1))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, the run's folder and what a run of two steps made, by the command."""
    folder = tmp_path_factory.mktemp("controlnet")
    tiny_pipeline().save_pretrained(folder / "base")
    arguments = ["train", "controlnet-demo", "--work", str(folder / "work"), "--out", str(folder / "made")]
    counts = ["--bundles", str(OPTIONS.bundles), "--varied", str(OPTIONS.varied), "--steps", str(OPTIONS.steps)]
    assert main([*arguments, *counts, "--base", str(folder / "base")]) == 0
    return folder


def test_the_pack_draws_with_the_folder(made: Path) -> None:
    network = load_controlnet(made / "made", torch.float32)
    modes = controlnet_modes(made / "made", network)
    assert modes == {"tile": 1, "canny": 0, "normal": 7}
    models = open_base(BaseFiles(made / "base"), torch.device("cpu"), torch.float32)
    image = read_dataset(made / "work" / "dataset")[0].image()
    control = Control(image, ControlNet(Resident(network), modes), "normal", 1.0, 0.0, 1.0, make_map=True)
    request = BundleRequest("a blue torus", height=256, width=512, steps=2, controls=(control,))
    assert bool(torch.isfinite(draw_bundle(models, request)).all())


def test_stock_diffusers_opens_it_and_the_record_is_kept(made: Path) -> None:
    stock = FluxControlNetModel.from_pretrained(made / "made")
    assert (stock.config.num_mode, stock.config.num_layers, stock.config.num_single_layers) == (10, 1, 1)
    assert {path.name for path in (made / "made" / "training").iterdir()} == {
        "options.json", "controlnet.jsonl", "controlnet.png",
    }  # fmt: skip
    kept = json.loads((made / "made" / "training" / "options.json").read_text(encoding="utf-8"))
    assert kept == {"bundles": 2, "varied": 2, "steps": 2, "seed": 0}


def test_a_run_that_broke_off_ends_the_same_and_another_one_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for rendered in ("dataset", "varied"):
        shutil.copytree(made / "work" / rendered, tmp_path / "work" / rendered)
    with pytest.raises(BrokenOffError):
        train_demo_controlnet(
            tmp_path / "work", tmp_path / "again", made / "base", OPTIONS,
            lambda stage: until(1 if stage == "ControlNet step" else 1000),
        )  # fmt: skip
    assert not (tmp_path / "again").exists()
    train_demo_controlnet(tmp_path / "work", tmp_path / "again", made / "base", OPTIONS)
    whole, resumed = (load_file(folder / WEIGHTS) for folder in (made / "made", tmp_path / "again"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name].float(), resumed[name].float()) for name in whole)
    with pytest.raises(Bundle3DError, match="same options"):
        train_demo_controlnet(tmp_path / "work", tmp_path / "other", made / "base", ControlNetDemoOptions(bundles=1))
