from __future__ import annotations

import torch
from bundle3d.pipelines.diffusion.redux import redux_tokens
from bundle3d.tests.support.tiny_flux import TEXT_WIDTH, tiny_redux
from diffusers import FluxPriorReduxPipeline
from transformers import SiglipImageProcessor

SIDE = torch.linspace(0, 3, 512)
IMAGE = torch.stack([SIDE[:, None].sin().expand(512, 512), SIDE.cos().abs().expand(512, 512), SIDE.outer(SIDE) / 9], -1)


@torch.no_grad()
def test_a_picture_becomes_729_tokens() -> None:
    assert redux_tokens(tiny_redux(), IMAGE).shape == (1, 729, TEXT_WIDTH)


@torch.no_grad()
def test_tokens_are_those_of_the_stock_pipeline() -> None:
    redux = tiny_redux()
    stock = FluxPriorReduxPipeline(
        image_encoder=redux.image_encoder.module,
        feature_extractor=SiglipImageProcessor(size={"height": 384, "width": 384}, do_rescale=False),
        image_embedder=redux.embedder.module,
    )
    seen = stock.encode_image(IMAGE.movedim(-1, 0)[None], torch.device("cpu"), 1)
    expected = redux.embedder.module(seen).image_embeds
    torch.testing.assert_close(redux_tokens(redux, IMAGE), expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_any_size_is_taken() -> None:
    small = IMAGE[::4, ::2]
    assert redux_tokens(tiny_redux(), small).shape == (1, 729, TEXT_WIDTH)
