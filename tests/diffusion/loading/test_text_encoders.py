"""CLIP, T5 and their tokenizers from single files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.text_encoders import (
    load_clip,
    load_clip_tokenizer,
    load_t5,
    load_t5_tokenizer,
    load_text_encoders,
)
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_files import CLIP_PREFIX, T5_PREFIX, State, prefixed, rounded, write
from bundle3d.tests.support.tiny_flux import (
    T5_LENGTH,
    seeded,
    tiny_clip,
    tiny_clip_tokenizer,
    tiny_t5,
    tiny_t5_tokenizer,
)
from transformers import CLIPTextConfig, CLIPTextModel, T5EncoderModel

IDS = torch.tensor([[0, 5, 6, 7, 19, 1, 1]])
STORED = [torch.float32, torch.float16, torch.float8_e4m3fn]


def clip() -> CLIPTextModel:
    """A CLIP whose heads are as wide as CLIP-L's, which no file says."""
    config = CLIPTextConfig(
        vocab_size=20, hidden_size=128, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, eos_token_id=2
    )
    return seeded(lambda: CLIPTextModel(config), 21)


def clip_file(module: CLIPTextModel) -> State:
    """Always with the prefix, which transformers has dropped from its own names."""
    return {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in module.state_dict().items()}


def t5_file(module: T5EncoderModel) -> State:
    return {name: tensor for name, tensor in module.state_dict().items() if name != "encoder.embed_tokens.weight"}


@torch.no_grad()
def read(module: torch.nn.Module, output: str) -> torch.Tensor:
    return getattr(module(IDS), output)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("all_in_one", [False, True])
def test_clip_files_compute_like_what_was_saved(tmp_path: Path, all_in_one: bool, stored: torch.dtype) -> None:
    module = clip()
    extra = {"text_projection.weight": torch.zeros(4, 4), "logit_scale": torch.ones(1)}
    extra["text_model.embeddings.position_ids"] = torch.arange(77.0)[None]
    state = clip_file(module) | extra
    if all_in_one:
        state = prefixed(state, CLIP_PREFIX) | {"vae.decoder.conv_in.bias": torch.zeros(1)}
    loaded = load_clip(write(tmp_path / "clip_l.safetensors", state, stored), torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {stored}
    ours, truth = read(loaded, "pooler_output"), read(rounded(module, stored), "pooler_output")
    torch.testing.assert_close(ours, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("words", ["shared.weight", "encoder.embed_tokens.weight", "both", "all-in-one"])
def test_t5_files_compute_like_what_was_saved(tmp_path: Path, words: str, stored: torch.dtype) -> None:
    module = tiny_t5()
    state = t5_file(module)
    if words in ("encoder.embed_tokens.weight", "both"):
        state["encoder.embed_tokens.weight"] = state["shared.weight"]
    if words == "encoder.embed_tokens.weight":
        del state["shared.weight"]
    if words == "all-in-one":
        state = prefixed(state, T5_PREFIX) | {"text_encoders.t5xxl.logit_scale": torch.ones(1)}
    loaded = load_t5(write(tmp_path / "t5xxl.safetensors", state, stored), torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {stored}
    assert loaded.shared is loaded.encoder.embed_tokens
    truth = read(rounded(module, stored), "last_hidden_state")
    torch.testing.assert_close(read(loaded, "last_hidden_state"), truth, rtol=0, atol=1e-5)


def test_t5_in_fp16_computes_in_bf16(tmp_path: Path) -> None:
    """Activations must not pass through the type that weights are stored in."""
    loaded = load_t5(write(tmp_path / "t5xxl.safetensors", t5_file(tiny_t5()), torch.float16), torch.bfloat16)
    assert read(loaded, "last_hidden_state").dtype == torch.bfloat16


def test_folders(tmp_path: Path) -> None:
    for module, load, output in ((tiny_clip(), load_clip, "pooler_output"), (tiny_t5(), load_t5, "last_hidden_state")):
        module.save_pretrained(tmp_path / output)
        loaded = load(tmp_path / output)
        torch.testing.assert_close(read(loaded, output), read(module, output), rtol=0, atol=1e-6)


def test_tokenizers(tmp_path: Path) -> None:
    """Ids are those of what was saved, and the length is cut to what CLIP has positions for and T5's folder allows."""
    long = tiny_clip_tokenizer()
    long.model_max_length = 8192  # as in the folder that ComfyUI ships
    long.save_pretrained(tmp_path / "clip")
    tiny_t5_tokenizer().save_pretrained(tmp_path / "t5")
    tokenizer = load_clip_tokenizer(tmp_path / "clip", tiny_clip())
    assert tokenizer.model_max_length == 77
    sentence = "a red torus, 2 blue cubes"
    assert tokenizer(sentence).input_ids == tiny_clip_tokenizer()(sentence).input_ids
    tokenizer = load_t5_tokenizer(tmp_path / "t5")
    assert tokenizer.model_max_length == T5_LENGTH
    assert tokenizer(sentence).input_ids == tiny_t5_tokenizer()(sentence).input_ids


def test_one_checkpoint_for_both(tmp_path: Path) -> None:
    tiny_clip_tokenizer().save_pretrained(tmp_path / "clip")
    tiny_t5_tokenizer().save_pretrained(tmp_path / "t5")
    state = prefixed(clip_file(clip()), CLIP_PREFIX) | prefixed(t5_file(tiny_t5()), T5_PREFIX)
    file = write(tmp_path / "flux1-dev-fp8.safetensors", state, torch.float8_e4m3fn)
    both = load_text_encoders(file, file, tmp_path / "clip", tmp_path / "t5")
    assert read(both.text_encoder, "pooler_output").dtype == torch.bfloat16
    assert read(both.text_encoder_2, "last_hidden_state").dtype == torch.bfloat16


def test_refusals(tmp_path: Path) -> None:
    clip_path = write(tmp_path / "clip_l.safetensors", clip_file(clip()))
    t5_path = write(tmp_path / "t5xxl.safetensors", t5_file(tiny_t5()))
    with pytest.raises(Bundle3DError, match=r"'clip_l.safetensors' holds a CLIP text encoder; choose T5-XXL"):
        load_t5(clip_path)
    with pytest.raises(Bundle3DError, match=r"'t5xxl.safetensors' holds a T5 encoder; choose clip_l"):
        load_clip(t5_path)
    state = {name: tensor for name, tensor in clip_file(clip()).items() if "layers.1.mlp.fc2.bias" not in name}
    with pytest.raises(Bundle3DError, match=r"'short.safetensors', but 1 are missing"):
        load_clip(write(tmp_path / "short.safetensors", state))
    with pytest.raises(Bundle3DError, match=r"no such file"):
        load_t5(tmp_path / "none.safetensors")
    with pytest.raises(Bundle3DError, match=r"there is none at 'nowhere'"):
        load_t5_tokenizer(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Bundle3DError, match=r"in the folder 'empty', but it cannot be read"):
        load_t5_tokenizer(tmp_path / "empty")
