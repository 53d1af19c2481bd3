"""Bundles are what stock diffusers pipelines draw with the reference's scheduler, where these can express the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from bundle3d.pipelines.diffusion.control import Control
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.encode_prompt import reference_prompt
from bundle3d.pipelines.diffusion.redux import redux_tokens
from bundle3d.tests.support.tiny_flux import (
    LATENT_CHANNELS,
    T5_LENGTH,
    tiny_control_network,
    tiny_models,
    tiny_pipeline,
)
from diffusers import (
    DiffusionPipeline,
    FlowMatchHeunDiscreteScheduler,
    FluxControlNetImg2ImgPipeline,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxPipeline,
)
from diffusers.models.controlnets.controlnet_flux import FluxMultiControlNetModel
from diffusers.pipelines.flux import (
    pipeline_flux,
    pipeline_flux_controlnet,
    pipeline_flux_controlnet_image_to_image,
    pipeline_flux_img2img,
)

HEIGHT, WIDTH, STEPS, STRENGTH = 32, 64, 4, 0.7
IMAGE = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(7)).mul(255).round() / 255
PIXELS = IMAGE.movedim(-1, 0)[None]
REQUEST = BundleRequest("a red torus", height=HEIGHT, width=WIDTH, steps=STEPS, guidance=3.5, seed=5)
FIRST = 1  # int(4 - 4 * 0.7)


@pytest.fixture(autouse=True)
def tolerate_heun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock pipelines hand over sigmas and mu, which the Heun scheduler does not know; the reference drops them."""

    def timesteps(scheduler: Any, steps: int, device: Any, **ignored: Any) -> tuple[torch.Tensor, int]:
        scheduler.set_timesteps(steps, device=device)
        return scheduler.timesteps, steps

    for module in (
        pipeline_flux,
        pipeline_flux_img2img,
        pipeline_flux_controlnet,
        pipeline_flux_controlnet_image_to_image,
    ):
        monkeypatch.setattr(module, "retrieve_timesteps", timesteps)


def stock(kind: type[DiffusionPipeline], pipeline: FluxPipeline, **parts: Any) -> DiffusionPipeline:
    scheduler = FlowMatchHeunDiscreteScheduler.from_config({"num_train_timesteps": 1000, "shift": 3.0})
    made = (
        kind(**{**pipeline.components, "scheduler": scheduler, **parts})
        if kind is FluxPipeline
        else kind(
            scheduler=scheduler,
            vae=pipeline.vae,
            text_encoder=pipeline.text_encoder,
            tokenizer=pipeline.tokenizer,
            text_encoder_2=pipeline.text_encoder_2,
            tokenizer_2=pipeline.tokenizer_2,
            transformer=pipeline.transformer,
            **parts,
        )
    )
    made.set_progress_bar_config(disable=True)
    return made


def drawn(pipeline: DiffusionPipeline, **wishes: Any) -> torch.Tensor:
    """(H, W, 3)"""
    if "prompt_embeds" not in wishes:
        wishes["prompt"], wishes["prompt_2"] = reference_prompt(REQUEST.prompt)
    images = pipeline(
        height=HEIGHT,
        width=WIDTH,
        num_inference_steps=STEPS,
        guidance_scale=3.5,
        max_sequence_length=T5_LENGTH,
        output_type="pt",
        **wishes,
    ).images
    return images[0].movedim(0, -1)


def start(pipeline: FluxPipeline, image: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Generator]:
    """The packed latents to start from, and the generator as it is after them."""
    generator = torch.Generator().manual_seed(REQUEST.seed)
    latents = torch.randn(1, LATENT_CHANNELS, HEIGHT // 8, WIDTH // 8, generator=generator)
    if image is not None:
        scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
        scheduler.set_timesteps(STEPS)
        scheduler.set_begin_index(2 * FIRST)
        clean = (pipeline.vae.encode(image * 2 - 1).latent_dist.sample(generator) - 0.1159) * 0.3611
        latents = scheduler.scale_noise(clean, scheduler.timesteps[2 * FIRST], latents)
    packed = FluxPipeline._pack_latents(latents, 1, LATENT_CHANNELS, HEIGHT // 8, WIDTH // 8)
    return packed, generator


def assert_same_picture(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert float(theirs.std()) > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-5)


def test_text_to_image() -> None:
    pipeline = tiny_pipeline()
    theirs = drawn(stock(FluxPipeline, pipeline), generator=torch.Generator().manual_seed(REQUEST.seed))
    assert_same_picture(draw_bundle(tiny_models(pipeline), REQUEST), theirs)


def test_redux_beside_the_words() -> None:
    pipeline = tiny_pipeline()
    models = tiny_models(pipeline, redux=True)
    assert models.redux is not None
    for_clip, for_t5 = reference_prompt(REQUEST.prompt)
    words, pooled, _ = pipeline.encode_prompt(for_clip, for_t5, max_sequence_length=T5_LENGTH)
    tokens = redux_tokens(models.redux, IMAGE)
    theirs = drawn(
        stock(FluxPipeline, pipeline),
        prompt_embeds=torch.cat([words, 0.95 * tokens], dim=1),
        pooled_prompt_embeds=pooled,
        generator=torch.Generator().manual_seed(REQUEST.seed),
    )
    assert_same_picture(draw_bundle(models, replace(REQUEST, redux_image=IMAGE, redux_strength=0.95)), theirs)


def test_image_to_image() -> None:
    pipeline = tiny_pipeline()
    latents, _ = start(pipeline, PIXELS)
    theirs = drawn(stock(FluxImg2ImgPipeline, pipeline), image=PIXELS, strength=STRENGTH, latents=latents)
    ours = draw_bundle(tiny_models(pipeline), replace(REQUEST, initial_image=IMAGE, strength=STRENGTH))
    assert_same_picture(ours, theirs)


def test_controlnet() -> None:
    pipeline, net = tiny_pipeline(), tiny_control_network()
    latents, generator = start(pipeline)
    theirs = drawn(
        stock(FluxControlNetPipeline, pipeline, controlnet=net.holder.module),
        control_image=PIXELS * 2 - 1,
        control_mode=1,
        controlnet_conditioning_scale=0.6,
        control_guidance_start=0.1,
        control_guidance_end=0.65,
        latents=latents,
        generator=generator,
    )
    control = Control(IMAGE, net, "tile", scale=0.6, start=0.1, end=0.65)
    assert_same_picture(draw_bundle(tiny_models(pipeline), replace(REQUEST, controls=(control,))), theirs)


def test_controlnet_without_modes() -> None:
    pipeline, net = tiny_pipeline(), tiny_control_network(num_mode=None)
    latents, generator = start(pipeline)
    theirs = drawn(
        stock(FluxControlNetPipeline, pipeline, controlnet=net.holder.module),
        control_image=PIXELS * 2 - 1,
        controlnet_conditioning_scale=0.8,
        latents=latents,
        generator=generator,
    )
    control = Control(IMAGE, net, "normal", scale=0.8, start=0.0, end=1.0)
    assert_same_picture(draw_bundle(tiny_models(pipeline), replace(REQUEST, controls=(control,))), theirs)


def test_controlnet_that_takes_pixels() -> None:
    pipeline = tiny_pipeline()
    net = tiny_control_network(
        num_mode=None, conditioning_embedding_channels=LATENT_CHANNELS, num_single_layers=0, patch_size=2
    )
    latents, generator = start(pipeline)
    theirs = drawn(
        stock(FluxControlNetPipeline, pipeline, controlnet=net.holder.module),
        control_image=PIXELS * 2 - 1,
        controlnet_conditioning_scale=0.8,
        latents=latents,
        generator=generator,
    )
    control = Control(IMAGE, net, "canny", scale=0.8, start=0.0, end=1.0)
    assert_same_picture(draw_bundle(tiny_models(pipeline), replace(REQUEST, controls=(control,))), theirs)


def test_image_to_image_with_two_controlnets() -> None:
    pipeline = tiny_pipeline()
    nets = tiny_control_network(), tiny_control_network(11)
    latents, generator = start(pipeline, PIXELS)
    theirs = drawn(
        stock(
            FluxControlNetImg2ImgPipeline,
            pipeline,
            controlnet=FluxMultiControlNetModel([net.holder.module for net in nets]),
        ),
        image=PIXELS,
        strength=STRENGTH,
        control_image=[PIXELS * 2 - 1, 1 - PIXELS * 2],
        control_mode=[1, 2],
        controlnet_conditioning_scale=[0.6, 0.3],
        control_guidance_start=[0.0, 0.2],
        control_guidance_end=[0.65, 1.0],
        latents=latents,
        generator=generator,
    )
    controls = (
        Control(IMAGE, nets[0], "tile", scale=0.6, start=0.0, end=0.65),
        Control(1 - IMAGE, nets[1], "depth", scale=0.3, start=0.2, end=1.0),
    )
    ours = draw_bundle(
        tiny_models(pipeline), replace(REQUEST, initial_image=IMAGE, strength=STRENGTH, controls=controls)
    )
    assert_same_picture(ours, theirs)
