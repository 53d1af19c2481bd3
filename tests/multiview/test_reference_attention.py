from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.multiview.reference_attention import (
    Reference,
    ReferenceAttention,
    attend_to_references,
    predict,
)
from bundle3d.tests.support.tiny_flux import seeded
from bundle3d.tests.support.tiny_zero123plus import TOKENS, WIDTH, tiny_unet
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention

GENERATOR = torch.Generator().manual_seed(0)
LATENTS = torch.randn(2, 4, 8, 8, generator=GENERATOR)
REFERENCE = torch.randn(2, 4, 4, 4, generator=GENERATOR)
TEXT = torch.randn(2, TOKENS, WIDTH, generator=GENERATOR)
TIME = torch.tensor(499.0)


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    unet = tiny_unet()
    attend_to_references(unet)
    return unet


def test_a_layer_attends_to_its_own_input_followed_by_what_was_kept() -> None:
    layer = seeded(lambda: Attention(query_dim=12, heads=3, dim_head=4), 0)
    own, kept = (torch.randn(2, n, 12, generator=torch.Generator().manual_seed(n)) for n in (5, 3))
    reference = Reference()
    layer.set_processor(ReferenceAttention("layer"))
    alone = layer(kept, reference=reference)
    torch.testing.assert_close(reference.states["layer"], kept, rtol=0, atol=0)
    reference.writing = False
    both = layer(own, reference=reference)

    def by_hand(queries: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        parts = ((queries, layer.to_q), (seen, layer.to_k), (seen, layer.to_v))
        query, key, value = (linear(x).unflatten(-1, (3, 4)).transpose(1, 2) for x, linear in parts)
        weights = torch.softmax(query @ key.transpose(-1, -2) / 4**0.5, dim=-1)
        return layer.to_out[0]((weights @ value).transpose(1, 2).flatten(2))

    torch.testing.assert_close(alone, by_hand(kept, kept), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(both, by_hand(own, torch.cat([own, kept], dim=1)), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(both, by_hand(own, own), atol=1e-3)


def test_without_a_reference_the_unet_is_the_stock_one(unet: UNet2DConditionModel) -> None:
    ours = unet(LATENTS, TIME, TEXT).sample
    torch.testing.assert_close(ours, tiny_unet()(LATENTS, TIME, TEXT).sample, rtol=0, atol=0)


def test_every_self_attention_is_kept_once(unet: UNet2DConditionModel) -> None:
    reference = Reference()
    unet(REFERENCE, TIME, TEXT, cross_attention_kwargs={"reference": reference})
    layers = {name for name in unet.attn_processors if name.endswith("attn1.processor")}
    assert reference.states.keys() == layers and len(layers) >= 3


def test_the_reference_is_seen_item_by_item(unet: UNet2DConditionModel) -> None:
    both = predict(unet, LATENTS, REFERENCE, TIME, TEXT)
    for item in (slice(0, 1), slice(1, 2)):
        one = predict(unet, LATENTS[item], REFERENCE[item], TIME, TEXT[item])
        torch.testing.assert_close(one, both[item], rtol=1e-4, atol=1e-5)
    swapped = predict(unet, LATENTS, REFERENCE.flip(0), TIME, TEXT)
    assert not torch.allclose(swapped, both, atol=1e-4)
    assert both.shape == LATENTS.shape
