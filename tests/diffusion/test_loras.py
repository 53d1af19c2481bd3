from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.loras import scaled_loras
from bundle3d.pipelines.diffusion.velocity import Conditioning, velocity
from bundle3d.tests.support.tiny_flux import LATENT_CHANNELS, POOLED_WIDTH, TEXT_WIDTH, tiny_transformer
from diffusers import FluxTransformer2DModel
from peft import LoraConfig

LATENTS = torch.randn(1, LATENT_CHANNELS, 4, 8, generator=torch.Generator().manual_seed(0))
CONDITIONING = Conditioning(torch.ones(1, 5, TEXT_WIDTH), torch.ones(1, POOLED_WIDTH), 3.5)


@pytest.fixture(scope="module")
def transformer() -> FluxTransformer2DModel:
    module = tiny_transformer()
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        module.add_adapter(
            LoraConfig(r=2, lora_alpha=3, init_lora_weights=False, target_modules=["to_q", "to_v", "proj_mlp"]), name
        )
    module.set_adapters(["first", "second"], [0.7, 0.3])
    return module.eval().requires_grad_(False)


def scales(module: FluxTransformer2DModel) -> list[dict[str, float]]:
    return [dict(layer.scaling) for layer in module.modules() if hasattr(layer, "lora_A")]


def flow(module: FluxTransformer2DModel, scale: float) -> torch.Tensor:
    return velocity(Resident(module), LATENTS, 0.5, CONDITIONING, lora_scale=scale)


def test_every_scale_is_multiplied_and_put_back_exactly(transformer: FluxTransformer2DModel) -> None:
    before = scales(transformer)
    assert len(before) > 0
    with pytest.raises(KeyError), scaled_loras(transformer, 0.1):
        assert scales(transformer)[0]["first"] == pytest.approx(0.1 * before[0]["first"])
        raise KeyError
    assert scales(transformer) == before


def test_nothing_is_left_of_the_loras_at_scale_zero(transformer: FluxTransformer2DModel) -> None:
    torch.testing.assert_close(flow(transformer, 0.0), flow(tiny_transformer(), 1.0))
    assert not torch.allclose(flow(transformer, 1.0), flow(transformer, 0.0), atol=1e-3)


@torch.no_grad()
def test_scale_is_that_of_the_stock_pipelines(transformer: FluxTransformer2DModel) -> None:
    plain = type(transformer).forward

    def forward(self: FluxTransformer2DModel, **inputs: object) -> object:
        return plain(self, **inputs, joint_attention_kwargs={"scale": 0.6})

    ours = flow(transformer, 0.6)
    transformer.forward = forward.__get__(transformer)
    stock = flow(transformer, 1.0)
    del transformer.forward
    torch.testing.assert_close(ours, stock)
