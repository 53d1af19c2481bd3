"""LoRAs in every naming give what merging them by hand gives."""

from __future__ import annotations

import unittest.mock
from functools import partial
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.lora import apply_loras, load_lora, remove_loras
from bundle3d.pipelines.diffusion.loading.text_encoders import load_clip, load_t5
from bundle3d.pipelines.diffusion.loading.transformer import load_transformer
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.diffusion.loading.test_text_encoders import clip, clip_file, read, t5_file
from bundle3d.tests.diffusion.loading.test_transformer import output
from bundle3d.tests.support.tiny_files import State, original_transformer, rounded, write
from bundle3d.tests.support.tiny_flux import tiny_t5, tiny_transformer
from diffusers import FluxTransformer2DModel
from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers
from peft import LoraConfig

RANK = 4
# The original's layers, and as many of diffusers' in two blocks; the first number of a pair is a rank of its own.
ORIGINAL = [
    "img_in",
    "txt_in",
    "time_in.in_layer",
    "vector_in.out_layer",
    "guidance_in.in_layer",
    "final_layer.linear",
    "final_layer.adaLN_modulation.1",
    *(
        f"double_blocks.1.{stream}_{layer}"
        for stream in ("img", "txt")
        for layer in ("mod.lin", "attn.qkv", "attn.proj")
    ),
    *(f"double_blocks.0.{stream}_mlp.{layer}" for stream in ("img", "txt") for layer in (0, 2)),
    *(f"single_blocks.2.{layer}" for layer in ("modulation.lin", "linear1", "linear2")),
]


def matrices(weight: torch.Tensor, seed: int, rank: int = RANK) -> tuple[torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, weight.shape[1], generator=noise) * 0.3
    return down, torch.randn(weight.shape[0], rank, generator=noise) * 0.3


def merged(state: State, layers: dict[str, tuple[torch.Tensor, torch.Tensor, float]], scale: float) -> State:
    """W + scale * alpha / rank * B @ A."""
    state = dict(state)
    for layer, (down, up, alpha) in layers.items():
        state[f"{layer}.weight"] = state[f"{layer}.weight"] + scale * alpha / down.shape[0] * (up @ down)
    return state


def lora_layers(state: State, names: list[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor, float]]:
    """Random matrices for some layers, of different ranks and alphas."""
    layers = {}
    for index, name in enumerate(names):
        down, up = matrices(state[f"{name}.weight"], index, RANK if index % 3 else 2 * RANK)
        layers[name] = (down, up, 1.0 + index % 4)
    return layers


def kohya(layers: dict[str, tuple[torch.Tensor, torch.Tensor, float]], prefix: str = "lora_unet_") -> State:
    state: State = {}
    for layer, (down, up, alpha) in layers.items():
        name = prefix + layer.replace(".", "_")
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(alpha)}
    return state


def dotted(
    layers: dict[str, tuple[torch.Tensor, torch.Tensor, float]], prefix: str, down_name: str, up_name: str
) -> State:
    state: State = {}
    for layer, (down, up, alpha) in layers.items():
        name = prefix + layer
        state |= {
            f"{name}.{down_name}.weight": down,
            f"{name}.{up_name}.weight": up,
            f"{name}.alpha": torch.tensor(alpha),
        }
    return state


def expect_same(file: Path, tmp_path: Path, truth: State, scale: float) -> None:
    transformer = load_transformer(write(tmp_path / "flux.safetensors", original_transformer(tiny_transformer())))
    plain = output(transformer)
    apply_loras(transformer, [(load_lora(file), scale, "bundle")])
    exact = load_transformer(write(tmp_path / "merged.safetensors", truth))
    assert (output(exact) - plain).abs().max() > 0.1
    torch.testing.assert_close(output(transformer), output(exact), rtol=0, atol=2e-5)
    remove_loras(transformer)
    assert torch.equal(output(transformer), plain)


@pytest.mark.parametrize("scale", [1.0, 0.4])
@pytest.mark.parametrize(
    "naming",
    [
        pytest.param(lambda layers: kohya(layers), id="kohya"),
        pytest.param(lambda layers: dotted(layers, "diffusion_model.", "lora_A", "lora_B"), id="PEFT, original names"),
        pytest.param(lambda layers: dotted(layers, "", "lora_down", "lora_up"), id="bare"),
    ],
)
def test_original_names(tmp_path: Path, naming, scale: float) -> None:
    state = original_transformer(tiny_transformer())
    layers = lora_layers(state, ORIGINAL)
    expect_same(write(tmp_path / "lora.safetensors", naming(layers)), tmp_path, merged(state, layers, scale), scale)


@pytest.mark.parametrize(
    "naming",
    [
        pytest.param(lambda layers: kohya(layers, "lora_transformer_"), id="kohya"),
        pytest.param(lambda layers: dotted(layers, "transformer.", "lora_A", "lora_B"), id="PEFT"),
        pytest.param(
            lambda layers: dotted(layers, "base_model.model.", "lora_A.default", "lora_B.default"),
            id="PEFT, saved whole",
        ),
        pytest.param(lambda layers: dotted(layers, "transformer.", "lora.down", "lora.up"), id="old diffusers"),
    ],
)
def test_diffusers_names(tmp_path: Path, naming) -> None:
    """Every linear layer of the transformer at once."""
    transformer = tiny_transformer()
    names = [name for name, module in transformer.named_modules() if isinstance(module, torch.nn.Linear)]
    layers = lora_layers(transformer.state_dict(), names)
    truth = merged(transformer.state_dict(), layers, 0.7)
    expect_same(write(tmp_path / "lora.safetensors", naming(layers)), tmp_path, truth, 0.7)


def test_without_alpha_it_is_the_rank(tmp_path: Path) -> None:
    state = original_transformer(tiny_transformer())
    layers = {name: (down, up, float(down.shape[0])) for name, (down, up, _) in lora_layers(state, ORIGINAL).items()}
    file = {name: tensor for name, tensor in kohya(layers).items() if not name.endswith(".alpha")}
    expect_same(write(tmp_path / "lora.safetensors", file), tmp_path, merged(state, layers, 1.0), 1.0)


def test_an_alpha_may_be_an_integer(tmp_path: Path) -> None:
    """Kohya's trainers save it so where no type to save in was chosen."""
    state = original_transformer(tiny_transformer())
    layers = lora_layers(state, ORIGINAL)
    file = {name: tensor.long() if name.endswith(".alpha") else tensor for name, tensor in kohya(layers).items()}
    expect_same(write(tmp_path / "lora.safetensors", file), tmp_path, merged(state, layers, 1.0), 1.0)


def test_file_that_diffusers_saves(tmp_path: Path) -> None:
    transformer: FluxTransformer2DModel = tiny_transformer()
    transformer.add_adapter(LoraConfig(r=3, lora_alpha=3, target_modules=["to_q", "ff.net.2"], init_lora_weights=False))
    truth = output(transformer)
    transformer.save_lora_adapter(tmp_path)
    loaded = load_transformer(write(tmp_path / "flux.safetensors", tiny_transformer().state_dict()))
    apply_loras(loaded, [(load_lora(tmp_path / "pytorch_lora_weights.safetensors"), 1.0, "saved")])
    torch.testing.assert_close(output(loaded), truth, rtol=0, atol=2e-6)


def test_kohya_layers_are_those_of_the_stock_converter(tmp_path: Path) -> None:
    """At the published widths, two blocks of each kind, with alpha equal to the rank."""
    width, mlp = 3072, 12288
    shapes = {"img_attn_qkv": (3 * width, width), "txt_mlp_0": (mlp, width), "img_mod_lin": (6 * width, width)}
    names = {f"lora_unet_double_blocks_{i}_{layer}": shape for i in (0, 18) for layer, shape in shapes.items()}
    shapes = {
        "linear1": (3 * width + mlp, width),
        "linear2": (width, width + mlp),
        "modulation_lin": (3 * width, width),
    }
    names |= {f"lora_unet_single_blocks_{i}_{layer}": shape for i in (0, 37) for layer, shape in shapes.items()}
    state: State = {}
    for index, (name, shape) in enumerate(names.items()):
        down, up = matrices(torch.empty(shape, device="meta"), index, 1)
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(1.0)}
    ours = load_lora(write(tmp_path / "lora.safetensors", state))
    theirs = _convert_kohya_flux_lora_to_diffusers(dict(state))
    assert {name for name in ours if not name.endswith(".alpha")} == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_several_at_once_and_again(tmp_path: Path) -> None:
    """Two add up; applying sets what is on, whatever was on before."""
    state = original_transformer(tiny_transformer())
    first, second = lora_layers(state, ORIGINAL[:9]), lora_layers(state, ORIGINAL[5:])
    one, two = (
        load_lora(write(tmp_path / f"{i}.safetensors", kohya(layers))) for i, layers in enumerate((first, second))
    )
    both = load_transformer(write(tmp_path / "both.safetensors", merged(merged(state, first, 0.5), second, 0.8)))
    alone = load_transformer(write(tmp_path / "alone.safetensors", merged(state, second, 1.0)))
    transformer = load_transformer(write(tmp_path / "flux.safetensors", state))
    for loras, truth in (
        ([(one, 0.5, "a"), (two, 0.8, "b")], both),
        ([(two, 1.0, "b")], alone),
        ([], tiny_transformer()),
    ):
        apply_loras(transformer, loras)
        torch.testing.assert_close(output(transformer), output(truth), rtol=0, atol=2e-5)


@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.bfloat16], ids=str)
def test_on_quantised_weights(tmp_path: Path, stored: torch.dtype) -> None:
    """The base keeps its storage, and the LoRA is added to it unrounded."""
    transformer = rounded(tiny_transformer(), stored)
    state = original_transformer(transformer)
    layers = lora_layers(state, ORIGINAL)
    loaded = load_transformer(write(tmp_path / "fp8.safetensors", state, stored), torch.float32)
    apply_loras(loaded, [(load_lora(write(tmp_path / "lora.safetensors", kohya(layers))), 1.0, "bundle")])
    truth = load_transformer(write(tmp_path / "merged.safetensors", merged(state, layers, 1.0)))
    torch.testing.assert_close(output(loaded), output(truth), rtol=0, atol=2e-5)
    block = loaded.transformer_blocks[1]
    assert block.attn.to_q.base_layer.weight.dtype == stored
    assert block.attn.to_q.lora_A["lora_0"].weight.dtype == torch.float32
    assert output(loaded, torch.bfloat16).dtype == torch.bfloat16


def test_scale_of_a_call(tmp_path: Path) -> None:
    """Diffusers' own scale, which the reference passes, multiplies that of the adapter and leaves it as it was."""
    state = original_transformer(tiny_transformer())
    layers = lora_layers(state, ORIGINAL)
    loaded = load_transformer(write(tmp_path / "flux.safetensors", state))
    apply_loras(loaded, [(load_lora(write(tmp_path / "lora.safetensors", kohya(layers))), 0.8, "bundle")])
    before = output(loaded)
    with unittest.mock.patch.object(loaded, "forward", partial(loaded.forward, joint_attention_kwargs={"scale": 0.5})):
        truth = load_transformer(write(tmp_path / "merged.safetensors", merged(state, layers, 0.4)))
        torch.testing.assert_close(output(loaded), output(truth), rtol=0, atol=2e-5)
    torch.testing.assert_close(output(loaded), before, rtol=0, atol=2e-6)


@pytest.mark.parametrize("naming", ["kohya", "diffusers"])
def test_text_encoders(tmp_path: Path, naming: str) -> None:
    clip_state, t5_state = clip_file(clip()), t5_file(tiny_t5())
    clip_layers = lora_layers(
        clip_state,
        [f"text_model.encoder.layers.{i}.{layer}" for i in (0, 1) for layer in ("self_attn.q_proj", "mlp.fc2")],
    )
    t5_layers = lora_layers(
        t5_state,
        [
            f"encoder.block.0.layer.{layer}"
            for layer in ("0.SelfAttention.v", "1.DenseReluDense.wi_0", "1.DenseReluDense.wo")
        ],
    )
    if naming == "kohya":
        state = kohya(clip_layers, "lora_te1_") | kohya(t5_layers, "lora_te3_")
    else:
        state = dotted(clip_layers, "text_encoder.", "lora_A", "lora_B")
        state |= dotted(t5_layers, "text_encoder_2.", "lora_A", "lora_B")
    lora = load_lora(write(tmp_path / "lora.safetensors", state))
    for load, file, layers, part, kind in (
        (load_clip, clip_state, clip_layers, "text_encoder", "pooler_output"),
        (load_t5, t5_state, t5_layers, "text_encoder_2", "last_hidden_state"),
    ):
        module = load(write(tmp_path / f"{part}.safetensors", file))
        plain = read(module, kind)
        apply_loras(module, [(lora, 0.6, "words")], part)
        truth = load(write(tmp_path / f"{part} merged.safetensors", merged(file, layers, 0.6)))
        assert (read(truth, kind) - plain).abs().max() > 1e-3
        torch.testing.assert_close(read(module, kind), read(truth, kind), rtol=0, atol=2e-5)


def test_refusals(tmp_path: Path) -> None:
    state = original_transformer(tiny_transformer())
    layers = kohya(lora_layers(state, ORIGINAL))

    def refusal(file: State) -> str:
        with pytest.raises(Bundle3DError) as error:
            load_lora(write(tmp_path / "odd lora.safetensors", file))
        assert "'odd lora.safetensors'" in str(error.value)
        return str(error.value)

    sdxl = {f"lora_unet_input_blocks_1_0_proj.lora_{end}.weight": torch.zeros(2, 2) for end in ("down", "up")}
    assert "which FLUX does not have" in refusal(sdxl)
    assert "holds a FLUX transformer" in refusal(state)
    whole = {f"model.diffusion_model.{name}": tensor for name, tensor in state.items()}
    assert "holds a FLUX transformer" in refusal(whole)
    for other in (
        "lora_unet_img_in.dora_scale",
        "lora_unet_img_in.diff",
        "transformer.x_embedder.lora_B.bias",
        "double_blocks.0.processor.qkv_lora1.down.weight",
    ):
        assert f"'{other}' of another kind of adapter" in refusal(layers | {other: torch.ones(2, 1)})
    half = {name: tensor for name, tensor in layers.items() if name != "lora_unet_img_in.lora_up.weight"}
    assert "two matrices of the same rank" in refusal(half)
    uneven = layers | {"lora_unet_img_in.lora_up.weight": torch.zeros(32, 1)}
    assert "two matrices of the same rank" in refusal(uneven)


def test_refuses_a_lora_of_another_size(tmp_path: Path) -> None:
    transformer = load_transformer(write(tmp_path / "flux.safetensors", tiny_transformer().state_dict()))
    plain = output(transformer)
    for other in (tiny_transformer(attention_head_dim=32, axes_dims_rope=(8, 12, 12)), tiny_transformer(num_layers=9)):
        state = other.state_dict()
        last = f"transformer_blocks.{other.config.num_layers - 1}.attn.to_q"
        file = write(
            tmp_path / "lora.safetensors", dotted(lora_layers(state, [last]), "transformer.", "lora_A", "lora_B")
        )
        with pytest.raises(Bundle3DError, match=f"'bundle' changes '{last}'"):
            apply_loras(transformer, [(load_lora(file), 1.0, "bundle")])
        assert torch.equal(output(transformer), plain)
