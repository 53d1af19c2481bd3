"""Opening a base, encoding a dataset once, and drawing from what was encoded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.loading.configurations import FLUX_DEV
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.base import BaseFiles, native_tile, open_base
from bundle3d.pipelines.training.borrowed import Borrowed
from bundle3d.pipelines.training.encoded import encode_dataset, encode_prompts
from bundle3d.pipelines.training.lora_layers import lora_weights, target_layers
from bundle3d.pipelines.training.loss_curve import draw_loss_curve, read_losses
from bundle3d.pipelines.training.memory_plan import memory_plan
from bundle3d.pipelines.training.new_controlnet import empty_controlnet
from bundle3d.pipelines.training.recipes import KISS3DGEN, SMALL, recipe_for
from bundle3d.pipelines.training.validation import Sample, draw_sample
from bundle3d.tests.support.tiny_files import CLIP_PREFIX, T5_PREFIX, TRANSFORMER_PREFIX, prefixed, write
from bundle3d.tests.support.tiny_flux import tiny_pipeline, tiny_transformer
from bundle3d.tests.training.conftest import MODES, TILE, Workshop
from diffusers import FluxTransformer2DModel
from PIL import Image

CPU = torch.device("cpu")


def test_borrowed_weights_go_home(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = torch.nn.Linear(4, 4)
    linear.register_buffer("extra", torch.ones(2))
    places = [tensor.data_ptr() for tensor in (linear.weight, linear.bias, linear.extra)]
    holder = Borrowed(linear, "cpu")
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, device: tensor.clone())  # as to another device
    with pytest.raises(ZeroDivisionError), holder.use() as outer:
        away = [tensor.data_ptr() for tensor in (linear.weight, linear.bias, linear.extra)]
        with holder.use() as inner:
            assert outer is inner is linear
        assert [tensor.data_ptr() for tensor in (linear.weight, linear.bias, linear.extra)] == away
        assert not set(away) & set(places)
        raise ZeroDivisionError
    assert [tensor.data_ptr() for tensor in (linear.weight, linear.bias, linear.extra)] == places
    assert linear.weight.requires_grad and linear.training


def test_encodings_are_made_once(workshop: Workshop) -> None:
    models, bundles = workshop.models(), workshop.bundles()
    data = workshop.encoded(models)
    files = {path: path.stat().st_mtime_ns for path in (workshop.folder / "cache").iterdir()}
    assert len(files) == len(bundles) * (2 + len(MODES))
    assert workshop.encoded(models) == data
    assert {path: path.stat().st_mtime_ns for path in (workshop.folder / "cache").iterdir()} == files
    assert (data.height, data.width) == (2 * TILE, 4 * TILE)
    tokens = data.rows * data.columns
    assert data.latents([1, 0, 1]).shape == (3, tokens, models.transformer.module.config.in_channels)
    assert data.controls([1, 0], ["canny", "tile"]).shape == data.latents([1, 0]).shape
    assert not torch.equal(data.controls([0], ["canny"]), data.controls([0], ["tile"]))

    renamed = [dataclasses.replace(bundles[0], caption="another"), *bundles[1:]]
    again = encode_dataset(renamed, models, "base", workshop.folder / "cache", MODES)
    assert again.bundles[0].text != data.bundles[0].text and again.bundles[0].latents == data.bundles[0].latents
    other = encode_dataset(bundles, models, "another base", workshop.folder / "cache")
    assert other.bundles[0].latents != data.bundles[0].latents


def test_bundles_that_do_not_fit_are_refused(workshop: Workshop) -> None:
    models, bundles = workshop.models(), workshop.bundles()
    Image.new("RGB", (4 * TILE, 4 * TILE)).save(bundles[1].path)
    with pytest.raises(Bundle3DError, match=r"red_box.* 128x128"):
        encode_dataset(bundles, models, "base", workshop.folder / "cache")
    Image.new("RGB", (100, 50)).save(bundles[0].path)
    with pytest.raises(Bundle3DError, match="multiples of 16 pixels"):
        encode_dataset(bundles, models, "base", workshop.folder / "cache")


def test_validation_draws_what_generation_draws(workshop: Workshop) -> None:
    models = workshop.models()
    [conditioning] = encode_prompts(models, ["a red box"], 3.5)
    with torch.no_grad():
        drawn = draw_sample(models, Sample("", conditioning), 32, 64, 3, seed=4)
    expected = draw_bundle(models, BundleRequest("a red box", 32, 64, steps=3, seed=4))
    assert torch.equal(drawn, expected) and drawn.std() > 0.01


def test_base_of_one_file(workshop: Workshop, tmp_path: Path) -> None:
    """A checkpoint with all parts and the tokenizers of a folder give what the folder gives."""
    pipeline = tiny_pipeline()
    clip = {
        f"text_model.{name.removeprefix('text_model.')}": t for name, t in pipeline.text_encoder.state_dict().items()
    }
    state = (
        prefixed(pipeline.transformer.state_dict(), TRANSFORMER_PREFIX)
        | prefixed(clip, CLIP_PREFIX)
        | prefixed(pipeline.text_encoder_2.state_dict(), T5_PREFIX)
    )
    files = BaseFiles(write(tmp_path / "base.safetensors", state), workshop.base / "vae")
    with pytest.raises(Bundle3DError, match="set --tokenizers"):
        open_base(files, CPU)
    tokenizers = (workshop.base / "tokenizer", workshop.base / "tokenizer_2")
    files = dataclasses.replace(files, clip_tokenizer=tokenizers[0], t5_tokenizer=tokenizers[1])
    models = open_base(files, CPU)
    expected = workshop.models().transformer.module.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in models.transformer.module.state_dict().items())
    assert files.stamp() != BaseFiles(workshop.base).stamp() == BaseFiles(workshop.base).stamp()
    assert native_tile(files.base) == 512 and native_tile(workshop.base) == 16


def test_sizes_of_the_published_networks() -> None:
    """By specs/kiss3dgen.md 2.1: 11.9 and 3.3 thousand million weights, and about 687 million of a LoRA of rank 128."""
    with torch.device("meta"):
        flux = FluxTransformer2DModel(**FLUX_DEV)
    network = empty_controlnet(flux, 10)
    assert (network.config.num_layers, network.config.num_single_layers) == (5, 10)
    assert sum(weight.numel() for weight in network.parameters()) == 3_301_956_608
    weights = lora_weights(flux, target_layers(flux), 128)
    assert weights == pytest.approx(687e6, rel=0.02)
    plan = memory_plan(flux.bfloat16(), weights, 0, 8192 + 512, 1, 2, True)
    assert plan.base == 2 * 11_901_408_320
    assert plan.total == plan.base + 16 * weights + plan.activations
    assert plan.activations < 10e9 < memory_plan(flux, weights, 0, 8704, 1, 2, False).activations
    assert recipe_for(flux) == KISS3DGEN and recipe_for(tiny_transformer()) == SMALL


def test_loss_curve_shows_the_later_of_two(tmp_path: Path) -> None:
    log, picture = tmp_path / "log.jsonl", tmp_path / "loss.png"
    draw_loss_curve(log, picture)
    assert not picture.exists()
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 9.0}\n{"step": 2, "loss": 0.5}\n', encoding="utf-8")
    assert read_losses(log) == [(1, 2.0), (2, 0.5)]
    draw_loss_curve(log, picture)
    with Image.open(picture) as image:
        assert image.size == (960, 540) and len(image.getcolors(100000) or []) > 3
