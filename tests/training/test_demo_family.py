"""The demo family: a few steps of everything, resumed, opened by stock diffusers, drawn with by the pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.loading.folder import load_folder
from bundle3d.pipelines.diffusion.models import BundleModels
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.training.demo_family import DemoOptions, train_demo
from bundle3d.pipelines.training.demo_models import TEXT_LENGTH, new_t5, new_tokenizers, new_vae
from diffusers import FluxPipeline

OPTIONS = DemoOptions(bundles=4, vae_steps=2, flow_steps=3)


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The work folder and the diffusers folder of a run of a few steps, made by the command."""
    folder = tmp_path_factory.mktemp("family")
    work, target = folder / "work", folder / "demo"
    arguments = ["train", "demo", "--work", str(work), "--out", str(target)]
    counts = ["--bundles", str(OPTIONS.bundles), "--vae-steps", str(OPTIONS.vae_steps)]
    assert main([*arguments, *counts, "--flow-steps", str(OPTIONS.flow_steps)]) == 0
    return work, target


def test_stock_diffusers_opens_the_folder_and_the_pack_draws_with_it(family: tuple[Path, Path]) -> None:
    stock = FluxPipeline.from_pretrained(family[1])
    assert stock.transformer.config.in_channels == 4 * stock.vae.config.latent_channels
    parts = load_folder(family[1], torch.float32)
    models = BundleModels(
        Resident(parts.transformer), Resident(parts.vae), Resident(parts.text_encoder), parts.tokenizer,
        Resident(parts.text_encoder_2), parts.tokenizer_2,
    )  # fmt: skip
    picture = draw_bundle(models, BundleRequest("a red cube", height=256, width=512, steps=2, seed=0))
    assert picture.shape == (256, 512, 3) and bool(torch.isfinite(picture).all())


def test_the_record_of_the_run_is_kept(family: tuple[Path, Path]) -> None:
    record = family[1] / "training"
    assert {path.name for path in record.iterdir()} == {
        "options.json",
        "vae.jsonl",
        "flow.jsonl",
        "vae.png",
        "flow.png",
    }


def test_latents_have_mean_0_and_deviation_1_by_the_shift_and_scale_of_the_folder(family: tuple[Path, Path]) -> None:
    latents = torch.from_numpy(np.load(family[0] / "latents.npy")).float()
    assert latents.shape == (OPTIONS.bundles, 128, 128)
    assert float(latents.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(latents.std()) == pytest.approx(1.0, abs=0.05)


def test_a_finished_run_is_not_done_again_and_another_one_is_refused(family: tuple[Path, Path], tmp_path: Path) -> None:
    work, target = family
    train_demo(work, tmp_path / "again", OPTIONS)
    for name in ("transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (target / name).read_bytes()
    with pytest.raises(Bundle3DError, match="same options"):
        train_demo(work, tmp_path / "other", DemoOptions(bundles=5))


def test_any_ascii_prompt_has_tokens_and_known_words_are_single_ones() -> None:
    clip, t5 = new_tokenizers(["a red torus", "an orange cube"])
    assert t5.convert_ids_to_tokens(t5("a red torus").input_ids)[:-1] == ["\u2581a", "\u2581red", "\u2581torus"]
    for tokenizer in (clip, t5):
        ids = tokenizer("a Zebra; 50% of [it]!").input_ids
        assert tokenizer.unk_token_id not in ids[:-1] and 0 < len(ids) < TEXT_LENGTH


def test_a_new_autoencoder_lets_colours_through_a_linear_pyramid() -> None:
    vae = new_vae()
    branches = [module.conv2 for module in vae.modules() if hasattr(module, "conv2")]
    assert branches and all(not branch.weight.any() for branch in branches)


def test_the_text_encoder_hears_the_order_of_words_from_the_start() -> None:
    """T5's own random start tells them apart by less than 0.05."""
    texts = ["a red cube on top of a blue sphere", "a blue cube on top of a red sphere"]
    tokenizer = new_tokenizers(texts)[1]
    torch.manual_seed(0)
    encoder = new_t5(tokenizer).eval()
    ids = tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    above, below = (ids[0] != ids[1]).nonzero()[:, 0].tolist()
    with torch.no_grad():
        first, second = encoder(ids).last_hidden_state
    assert float((first[above] - second[below]).norm() / first[above].norm()) > 0.3  # "red" above and below
