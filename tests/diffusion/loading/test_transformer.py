"""FLUX's transformer from every kind of file equals the one that was saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.casting import compute_dtype_of
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.diffusion.loading.transformer_keys import to_diffusers
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_files import TRANSFORMER_PREFIX, original_transformer, prefixed, rounded, write
from bundle3d.tests.support.tiny_flux import POOLED_WIDTH, TEXT_WIDTH, TRANSFORMER, tiny_transformer
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers

STORED = [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]


@torch.no_grad()
def output(transformer: torch.nn.Module, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """What a transformer of the tiny configuration makes of fixed inputs."""
    noise = torch.Generator().manual_seed(7)
    ids = torch.zeros(6, 3)
    ids[:, 2] = torch.arange(6)
    return transformer(
        hidden_states=torch.randn(1, 6, TRANSFORMER["in_channels"], generator=noise).to(dtype),
        encoder_hidden_states=torch.randn(1, 5, TEXT_WIDTH, generator=noise).to(dtype),
        pooled_projections=torch.randn(1, POOLED_WIDTH, generator=noise).to(dtype),
        timestep=torch.tensor([0.7], dtype=dtype),
        guidance=torch.tensor([3.5]),
        img_ids=ids,
        txt_ids=torch.zeros(5, 3),
        return_dict=False,
    )[0]


@pytest.mark.parametrize("stored", STORED, ids=str)
@pytest.mark.parametrize("names", ["original", "ComfyUI", "diffusers", "all-in-one"])
def test_files_compute_like_what_was_saved(tmp_path: Path, names: str, stored: torch.dtype) -> None:
    transformer = tiny_transformer()
    state = transformer.state_dict() if names == "diffusers" else original_transformer(transformer)
    if names in ("ComfyUI", "all-in-one"):
        state = prefixed(state, TRANSFORMER_PREFIX)
    if names == "all-in-one":
        state |= {"vae.decoder.conv_in.bias": torch.zeros(4), "text_encoders.clip_l.logit_scale": torch.zeros(1)}
    loaded = load_transformer(write(tmp_path / "flux.safetensors", state, stored), torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {stored}
    torch.testing.assert_close(output(loaded), output(rounded(transformer, stored)), rtol=0, atol=2e-6)
    assert {parameter.dtype for parameter in loaded.parameters()} == {stored}
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_no_guidance(tmp_path: Path) -> None:
    transformer = tiny_transformer(guidance_embeds=False)
    loaded = load_transformer(write(tmp_path / "schnell.safetensors", original_transformer(transformer)))
    assert not loaded.config.guidance_embeds
    assert loaded.state_dict().keys() == transformer.state_dict().keys()


@pytest.mark.parametrize("stored", STORED, ids=str)
def test_computes_in_the_files_type_unless_told(tmp_path: Path, stored: torch.dtype) -> None:
    file = write(tmp_path / "flux.safetensors", tiny_transformer().state_dict(), stored)
    natural = stored if stored.itemsize > 1 else torch.bfloat16
    assert compute_dtype_of(load_transformer(file)) == natural
    assert output(load_transformer(file), natural).dtype == natural


def test_a_few_wide_weights_do_not_decide_what_is_computed_in(tmp_path: Path) -> None:
    """Quantised files keep the first and the smallest layers in float32."""
    state = tiny_transformer().state_dict()
    mixed = {name: weight if "embed" in name or "norm" in name else weight.half() for name, weight in state.items()}
    for narrow, natural in ((torch.float8_e4m3fn, torch.bfloat16), (torch.float16, torch.float16)):
        mixed = {name: weight if weight.dtype == torch.float32 else weight.to(narrow) for name, weight in mixed.items()}
        loaded = load_transformer(write(tmp_path / f"{natural}.safetensors", mixed))
        assert compute_dtype_of(loaded) == natural
        assert loaded.transformer_blocks[0].attn.to_q.weight.dtype == narrow
        assert output(loaded, natural).dtype == natural


def test_weights_wider_than_the_computation_are_narrowed(tmp_path: Path) -> None:
    file = write(tmp_path / "flux.safetensors", tiny_transformer().state_dict())
    loaded = load_transformer(file, torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}


def test_scaled_fp8(tmp_path: Path) -> None:
    """Weights divided by a factor of their own, as ComfyUI's scaled files have them."""
    transformer = tiny_transformer()
    state = original_transformer(transformer)
    for name in [name for name, tensor in state.items() if tensor.ndim == 2]:
        scale = state[name].abs().amax() / 448
        state[name] = (state[name] / scale).to(torch.float8_e4m3fn)
        state[name.replace(".weight", ".scale_weight")] = scale
    state["scaled_fp8"] = torch.empty(0, dtype=torch.float8_e4m3fn)
    exact = {
        name: state[name].float() * state[name.replace(".weight", ".scale_weight")] if tensor.ndim == 2 else tensor
        for name, tensor in state.items()
        if not name.startswith("scaled") and not name.endswith(".scale_weight")
    }
    loaded = load_transformer(write(tmp_path / "scaled.safetensors", state), torch.float32)
    same = load_transformer(write(tmp_path / "exact.safetensors", exact))
    assert loaded.transformer_blocks[0].attn.to_q.weight.dtype == torch.float8_e4m3fn
    torch.testing.assert_close(output(loaded), output(same), rtol=0, atol=2e-6)


def test_names_are_those_of_the_stock_converter() -> None:
    """At the published widths and depth; one column tells which rows went where."""
    noise = torch.Generator().manual_seed(1)
    state = original_transformer(
        tiny_transformer(num_layers=19, num_single_layers=38)
    )  # for the names; the rows are the published ones
    rows = {"qkv": 9216, "proj": 3072, "mlp.0": 12288, "mlp.2": 3072, "mod.lin": 18432, "modulation.lin": 9216}
    rows |= {"linear1": 21504, "linear2": 3072, "adaLN_modulation.1": 6144, "img_in": 3072}
    for name, tensor in state.items():
        layer = name.rpartition(".")[0]
        length = next((rows[ending] for ending in rows if layer.endswith(ending)), tensor.shape[0])
        shape = (length, 1) if tensor.ndim == 2 else (length,)
        state[name] = torch.randn(shape, generator=noise)
    ours = to_diffusers(state)
    theirs = convert_flux_transformer_checkpoint_to_diffusers(dict(state))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_tensors_are_mapped_and_not_copied(tmp_path: Path) -> None:
    """What is loaded changes with the file."""
    file = write(tmp_path / "flux.safetensors", tiny_transformer().state_dict())
    loaded = load_transformer(file)
    before = loaded.x_embedder.weight.clone()
    with file.open("r+b") as stream:
        header = int.from_bytes(stream.read(8), "little")
        stream.seek(8 + header)
        stream.write(b"\0" * (file.stat().st_size - 8 - header))
    assert before.any() and not loaded.x_embedder.weight.any()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"transformer_blocks.1.attn.to_q.weight": None}, "1 are missing"),
        ({"transformer_blocks.1.attn.to_r.weight": torch.zeros(2)}, "1 others"),
        ({"proj_out.bias": torch.zeros(3)}, "to be 16, but it is 3"),
        ({"proj_out.bias": torch.zeros(16, dtype=torch.int8)}, "int8"),
        ({"x_embedder.weight": torch.zeros(32, 96)}, "Fill"),
        ({"controlnet_x_embedder.weight": torch.zeros(2)}, "a FLUX ControlNet"),
        ({"transformer_blocks.0.attn.norm_q.weight": None}, "a FLUX transformer"),
    ],
)
def test_refuses_what_does_not_fit(tmp_path: Path, change: dict[str, torch.Tensor | None], told: str) -> None:
    state = {**tiny_transformer().state_dict(), **change}
    file = write(
        tmp_path / "odd flux.safetensors", {name: tensor for name, tensor in state.items() if tensor is not None}
    )
    with pytest.raises(Bundle3DError, match=told) as refusal:
        load_transformer(file)
    assert "odd flux.safetensors" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["model.diffusion_model.input_blocks.0.0.weight", "conditioner.embedders.0.x"], "Stable Diffusion XL"),
        (["model.diffusion_model.input_blocks.0.0.weight"], "a Stable Diffusion UNet"),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3"),
        (["double_stream_modulation_img.lin.weight", "double_blocks.0.img_attn.qkv.weight"], "FLUX.2"),
        (["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"], "a LoRA"),
        (["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"], "a LoRA"),
        (["redux_up.weight"], "Redux"),
        (["encoder.down.0.block.0.conv1.weight"], "a VAE"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "a T5 encoder"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "a CLIP text encoder"),
        (["vision_model.encoder.layers.0.mlp.fc1.weight"], "an image encoder"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet of Stable Diffusion"),
        (["something"], "unknown .*'something'"),
    ],
)
def test_says_what_another_file_is(tmp_path: Path, names: list[str], told: str) -> None:
    file = write(tmp_path / "other.safetensors", {name: torch.zeros(1) for name in names})
    with pytest.raises(Bundle3DError, match=told) as refusal:
        load_transformer(file)
    assert "'other.safetensors' holds" in str(refusal.value)
    assert "flux1-dev.safetensors" in str(refusal.value)
