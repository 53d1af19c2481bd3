"""A whole pipeline from a folder that stock diffusers saved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.folder import load_folder
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.diffusion.loading.test_transformer import output
from bundle3d.tests.support.tiny_flux import T5_LENGTH, tiny_pipeline, tiny_transformer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_pipeline().save_pretrained(tmp_path / "flux")
    return tmp_path / "flux"


def test_components_are_those_that_were_saved(folder: Path) -> None:
    saved, loaded = tiny_pipeline(), load_folder(folder)
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        ours, theirs = getattr(loaded, part), getattr(saved, part)
        truth = theirs.state_dict()
        assert ours.state_dict().keys() == truth.keys()
        assert all(torch.equal(tensor, truth[name]) for name, tensor in ours.state_dict().items())
        assert not any(tensor.is_meta for tensor in [*ours.parameters(), *ours.buffers()])
    assert (loaded.tokenizer.model_max_length, loaded.tokenizer_2.model_max_length) == (77, T5_LENGTH)
    assert loaded.scheduler["shift"] == 3.0
    ids = loaded.tokenizer("a red torus", padding="max_length", return_tensors="pt").input_ids
    assert torch.equal(loaded.text_encoder(ids).pooler_output, saved.text_encoder(ids).pooler_output)
    ids = loaded.tokenizer_2("a red torus", return_tensors="pt").input_ids
    torch.testing.assert_close(loaded.text_encoder_2(ids)[0], saved.text_encoder_2(ids)[0], rtol=0, atol=1e-6)


def test_computes_in_the_type_asked_for(folder: Path) -> None:
    loaded = load_folder(folder, torch.bfloat16)
    for module in (loaded.transformer, loaded.vae, loaded.text_encoder, loaded.text_encoder_2):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.bfloat16}


def test_shards(tmp_path: Path) -> None:
    transformer = tiny_transformer()
    transformer.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*-of-*.safetensors"))) > 2
    loaded, weights = load_transformer(tmp_path), transformer.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in loaded.state_dict().items())
    # Where the weights lie in memory, which is as in the files, decides how some processors round.
    torch.testing.assert_close(output(loaded), output(transformer), rtol=1e-5, atol=1e-6)
    next(tmp_path.glob("*-00002-of-*.safetensors")).unlink()
    with pytest.raises(Bundle3DError, match=r"'diffusion_pytorch_model-00002-of-.*no such file"):
        load_transformer(tmp_path)


def test_half_precision_variant(tmp_path: Path) -> None:
    tiny_transformer().to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    assert load_transformer(tmp_path).dtype == torch.float16


@pytest.mark.parametrize("shard", ["../elsewhere.safetensors", "/elsewhere.safetensors", "..\\elsewhere.safetensors"])
def test_refuses_shards_outside_the_folder(tmp_path: Path, shard: str) -> None:
    tiny_transformer().save_config(tmp_path)
    index = tmp_path / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x_embedder.weight": shard}}), encoding="utf-8")
    with pytest.raises(Bundle3DError, match="elsewhere; do not use it"):
        load_transformer(tmp_path)


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Bundle3DError, match="there is none at 'nowhere'"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(Bundle3DError, match=r"Expected 'model_index.json' in the folder 'transformer'"):
        load_folder(folder / "transformer")
    with pytest.raises(Bundle3DError, match=r"its config.json says AutoencoderKL"):
        load_transformer(folder / "vae")
    config = folder / "vae" / "config.json"
    text = config.read_text(encoding="utf-8")
    for damaged in (text[:-20], "[" * 200_000):
        config.write_text(damaged, encoding="utf-8")
        with pytest.raises(Bundle3DError, match=r"'vae/config.json', but it is damaged"):
            load_folder(folder)
    config.write_text(text, encoding="utf-8")
    weights = next((folder / "text_encoder").glob("*.safetensors"))
    weights.unlink()
    with pytest.raises(Bundle3DError, match="weights of a model in the folder 'text_encoder'"):
        load_folder(folder)
    index = folder / "model_index.json"
    index.write_text('{"_class_name": "StableDiffusionXLPipeline"}', encoding="utf-8")
    with pytest.raises(Bundle3DError, match="but it holds StableDiffusionXLPipeline"):
        load_folder(folder)
