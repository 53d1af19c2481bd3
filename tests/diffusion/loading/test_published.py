"""The published configurations: their sizes, and that files of them are told from names and shapes alone."""

from __future__ import annotations

from pathlib import Path

import torch
from bundle3d.pipelines.diffusion.loading import configurations as published
from bundle3d.pipelines.diffusion.loading.assemble import expected_shapes, without_memory
from bundle3d.pipelines.diffusion.loading.controlnet import controlnet_config
from bundle3d.pipelines.diffusion.loading.redux import siglip_config
from bundle3d.pipelines.diffusion.loading.text_encoders import clip_config, t5_config, with_prefix_of
from bundle3d.pipelines.diffusion.loading.transformer import transformer_config
from bundle3d.pipelines.diffusion.loading.transformer_keys import to_diffusers
from bundle3d.pipelines.diffusion.loading.vae import to_diffusers as vae_to_diffusers
from bundle3d.pipelines.diffusion.loading.vae import vae_config
from bundle3d.tests.support.tiny_files import original_vae
from diffusers import AutoencoderKL, FluxControlNetModel, FluxTransformer2DModel
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
)

W, MLP = 3072, 12288
# flux1-dev.safetensors, by hand: every linear layer's rows and columns; norms have 128 numbers.
OUTSIDE = {
    "img_in": (W, 64),
    "txt_in": (W, 4096),
    "time_in.in_layer": (W, 256),
    "time_in.out_layer": (W, W),
    "vector_in.in_layer": (W, 768),
    "vector_in.out_layer": (W, W),
    "guidance_in.in_layer": (W, 256),
    "guidance_in.out_layer": (W, W),
    "final_layer.adaLN_modulation.1": (2 * W, W),
    "final_layer.linear": (64, W),
}
DOUBLE = {"mod.lin": (6 * W, W), "attn.qkv": (3 * W, W), "attn.proj": (W, W), "mlp.0": (MLP, W), "mlp.2": (W, MLP)}
SINGLE = {"modulation.lin": (3 * W, W), "linear1": (3 * W + MLP, W), "linear2": (W, W + MLP)}


def meta(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta", dtype=torch.bfloat16) for name, shape in shapes.items()}


def with_bias(layers: dict[str, tuple[int, int]]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (rows, columns) in layers.items():
        shapes |= {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}
    return shapes


def flux_dev_file() -> dict[str, tuple[int, ...]]:
    shapes = with_bias(OUTSIDE)
    for i in range(19):
        for stream in ("img", "txt"):
            shapes |= with_bias({f"double_blocks.{i}.{stream}_{layer}": shape for layer, shape in DOUBLE.items()})
            for norm in ("query_norm", "key_norm"):
                shapes[f"double_blocks.{i}.{stream}_attn.norm.{norm}.scale"] = (128,)
    for i in range(38):
        shapes |= with_bias({f"single_blocks.{i}.{layer}": shape for layer, shape in SINGLE.items()})
        for norm in ("query_norm", "key_norm"):
            shapes[f"single_blocks.{i}.norm.{norm}.scale"] = (128,)
    return shapes


def built(build):
    return without_memory(build, Path("published.safetensors"), "a published model")


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_flux_dev_is_told_from_its_file() -> None:
    shapes = flux_dev_file()
    assert len(shapes) == 780
    renamed = to_diffusers(meta(shapes))
    assert transformer_config(renamed) == {**published.FLUX_DEV, "out_channels": 64}
    module = built(lambda: FluxTransformer2DModel.from_config(dict(published.FLUX_DEV)))
    assert size(module) == 11_901_408_320
    assert {name: tuple(tensor.shape) for name, tensor in renamed.items()} == expected_shapes(module)


def test_controlnet_union() -> None:
    module = built(lambda: FluxControlNetModel.from_config(dict(published.CONTROLNET_UNION)))
    assert size(module) == 3_301_956_608
    assert controlnet_config(module.state_dict()) == published.CONTROLNET_UNION


def test_vae() -> None:
    module = built(lambda: AutoencoderKL.from_config(dict(published.FLUX_VAE)))
    assert size(module) == 83_819_683
    original = original_vae(module)
    assert original["decoder.up.3.block.2.conv1.weight"].shape == (512, 512, 3, 3)
    assert original["decoder.up.0.block.0.nin_shortcut.weight"].shape == (128, 256, 1, 1)
    assert original["encoder.mid.attn_1.q.weight"].shape == (512, 512, 1, 1)
    renamed = vae_to_diffusers(original)
    assert vae_config(renamed) == published.FLUX_VAE
    assert {name: tuple(tensor.shape) for name, tensor in renamed.items()} == expected_shapes(module)


def test_clip_l() -> None:
    module = built(lambda: CLIPTextModel(CLIPTextConfig.from_dict(dict(published.CLIP_L))))
    assert size(module) == 123_060_480
    state = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in module.state_dict().items()}
    assert len(state) == 196
    assert clip_config(state) == published.CLIP_L
    assert with_prefix_of(module, state, "text_model.").keys() == module.state_dict().keys()


def test_t5_xxl() -> None:
    module = built(lambda: T5EncoderModel(T5Config.from_dict(dict(published.T5_XXL))))
    module.set_input_embeddings(module.shared)
    assert size(module) == 4_762_310_656
    state = module.state_dict()
    del state["encoder.embed_tokens.weight"]
    assert len(state) == 219
    assert t5_config(state) == published.T5_XXL


def test_redux() -> None:
    module = built(lambda: ReduxImageEncoder(**published.REDUX))
    assert size(module) == 64_503_808
    assert expected_shapes(module) == with_bias({"redux_up": (12288, 1152), "redux_down": (4096, 12288)})


def test_siglip_so400m() -> None:
    module = built(lambda: SiglipVisionModel(SiglipVisionConfig.from_dict(dict(published.SIGLIP_SO400M))))
    assert size(module) == 412_987_248
    prefix = "vision_model."
    state = {f"{prefix}{name.removeprefix(prefix)}": tensor for name, tensor in module.state_dict().items()}
    assert siglip_config(state) == published.SIGLIP_SO400M
