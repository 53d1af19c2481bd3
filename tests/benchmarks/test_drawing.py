"""The benchmark of full-size networks: they have the published sizes, and the command runs with small ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.benchmarks import drawing
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.diffusion.loading import configurations as published
from bundle3d.pipelines.errors import Bundle3DError
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

ROOT = Path(__file__).resolve().parents[2]
FEWER = {"num_layers": 1, "num_single_layers": 1, "num_hidden_layers": 1, "layers_per_block": 1}


def vision(settings: dict[str, Any]) -> Any:
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(settings))


BUILDS: dict[str, tuple[Callable[[dict[str, Any]], Any], Any]] = {
    "flux": (FluxTransformer2DModel.from_config, published.FLUX_DEV),
    "t5": (lambda settings: T5EncoderModel(T5Config.from_dict(settings)), published.T5_XXL),
    "unet": (UNet2DConditionModel.from_config, drawing.UNET),
    "vae": (AutoencoderKL.from_config, drawing.SD_VAE),
    "text": (lambda settings: CLIPTextModel(CLIPTextConfig.from_dict(settings)), drawing.CLIP_H_TEXT),
    "vision": (vision, drawing.CLIP_H_VISION),
}


# specs/kiss3dgen.md 2.1, to the digits given there.
@pytest.mark.parametrize(
    ("name", "parameters", "digits"),
    [
        ("flux", 11_901_408_320, 0),
        ("t5", 4.8e9, -8),
        ("unet", 865_910_724, 0),
        ("vae", 83.65e6, -4),
        ("text", 340.4e6, -5),
        ("vision", 632.1e6, -5),
    ],
)
def test_networks_have_the_published_sizes(name: str, parameters: float, digits: int) -> None:
    build, settings = BUILDS[name]
    with torch.device("meta"):
        network = build(dict(settings))
    assert round(sum(parameter.numel() for parameter in network.parameters()), digits) == parameters


@pytest.mark.parametrize("name", ["t5", "vae", "text", "vision"])
def test_random_weights_fill_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "BLOCK", 1000)
    build, settings = BUILDS[name]
    fewer = {**settings, **{key: value for key, value in FEWER.items() if key in settings}, "vocab_size": 100}
    network = drawing.random_network(lambda: build(fewer), torch.bfloat16, casting=name != "vae")
    assert all(parameter.dtype == torch.bfloat16 for parameter in network.parameters())
    assert all(0.01 < float(p.float().std()) < 0.03 for p in network.parameters() if p.numel() >= 1000)


def test_the_command_runs_with_small_networks() -> None:
    try:
        find_comfyui()
    except Bundle3DError as error:
        pytest.skip(str(error))
    results = set((ROOT / "benchmarks" / "results").iterdir())
    command = [sys.executable, ROOT / "benchmarks" / "drawing.py", "--small", "--steps", "2", "--view-steps", "1"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
    last = "second" if torch.cuda.is_available() else "once"
    assert f"'bundle, {last}', 'dtype': 'bf16', 'size': '128 x 64'" in done.stdout
    assert f"'views, {last}', 'dtype': 'fp16', 'size': '64 x 64'" in done.stdout
    assert set((ROOT / "benchmarks" / "results").iterdir()) == results
