from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.pipelines.multiview.conditioning import encode_picture, processed
from bundle3d.pipelines.multiview.models import PictureProcessing
from bundle3d.tests.support.tiny_zero123plus import (
    CROP,
    FOR_VAE,
    RAMP,
    TOKENS,
    WIDTH,
    tiny_components,
    tiny_multiview_models,
)
from PIL import Image
from transformers import CLIPImageProcessor

IMAGE = torch.rand(40, 60, 3, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (61, 47), (16, 16), (32, 32)])
def test_pictures_are_processed_as_transformers_does(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height)
    # Pillow cuts what overshoots between its two passes, so there shall be nothing to cut.
    image = ((0.3 + 0.4 * torch.rand(height, width, 3, generator=generator)) * 255).round() / 255
    stock = CLIPImageProcessor(
        size={"shortest_edge": CROP}, crop_size={"height": CROP, "width": CROP}, resample=3,
        image_mean=list(FOR_VAE.mean), image_std=list(FOR_VAE.std), do_convert_rgb=False,
    )  # fmt: skip
    picture = Image.fromarray((image.numpy() * 255).round().astype(np.uint8))
    expected = stock(picture, return_tensors="pt").pixel_values
    ours = processed(image, FOR_VAE)
    assert ours.shape == expected.shape == (1, 3, CROP, CROP)
    assert float((ours - expected).abs().max()) <= 2.01 / 255 / 0.8


def test_the_middle_is_cut_and_values_are_centred() -> None:
    image = torch.zeros(8, 16, 3)
    image[:, 4:12] = 1.0
    ours = processed(image, PictureProcessing(8, 8, (0.5, 0.5, 0.5), (0.8, 0.8, 0.8)))
    torch.testing.assert_close(ours, torch.full((1, 3, 8, 8), 0.625))


def test_the_picture_adds_to_the_empty_prompt_along_the_ramp() -> None:
    parts, models = tiny_components(), tiny_multiview_models()
    found = encode_picture(models, IMAGE, torch.Generator().manual_seed(0))
    assert found.tokens.shape == (2, TOKENS, WIDTH) and found.latents.shape == (2, 4, CROP // 8, CROP // 8)
    ids = parts.tokenizer("", padding="max_length", max_length=TOKENS, return_tensors="pt").input_ids
    text = parts.text_encoder(ids).last_hidden_state
    embedding = parts.vision_encoder(processed(IMAGE, models.for_vision)).image_embeds
    torch.testing.assert_close(found.tokens[:1], text)
    for index, factor in enumerate(RAMP):
        torch.testing.assert_close(found.tokens[1, index], text[0, index] + factor * embedding[0])


def test_latents_are_samples_that_are_not_scaled_and_nothing_is_a_picture_of_zeros() -> None:
    models = tiny_multiview_models()
    found = encode_picture(models, IMAGE, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    pixels = processed(IMAGE, FOR_VAE)
    for latents, seen in ((found.latents[1], pixels), (found.latents[0], torch.zeros_like(pixels))):
        moments = models.vae.module.encode(seen).latent_dist
        expected = moments.mean + moments.std * torch.randn(moments.mean.shape, generator=generator)
        torch.testing.assert_close(latents, expected[0])


def test_without_guidance_there_is_the_picture_alone() -> None:
    models = tiny_multiview_models()
    both = encode_picture(models, IMAGE, torch.Generator().manual_seed(0))
    one = encode_picture(models, IMAGE, torch.Generator().manual_seed(0), guided=False)
    assert torch.equal(one.tokens, both.tokens[1:]) and torch.equal(one.latents, both.latents[1:])


@pytest.mark.parametrize("guided", [True, False])
def test_progress_is_told_before_every_network_and_cancels(guided: bool) -> None:
    models, calls = tiny_multiview_models(), []
    parts = 4 if guided else 3
    report = lambda done, total, preview=None: calls.append((done, total))  # noqa: E731
    encode_picture(models, IMAGE, torch.Generator().manual_seed(0), guided, report)
    assert calls == [(done, parts) for done in range(parts + 1)]

    def cancel(done: int, total: int, preview: object = None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_picture(models, IMAGE, torch.Generator().manual_seed(0), guided, cancel)
