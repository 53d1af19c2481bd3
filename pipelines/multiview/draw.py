"""From one picture to the views around its object. Source: specs/kiss3dgen.md 3.2 and 10a.4."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler

from ..diffusion.autoencoder import decode_pixels, spatial_factor
from ..diffusion.holder import Holder
from ..diffusion.preview import preview
from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from ..views.finite import require_finite
from .conditioning import ViewConditioning, encode_picture
from .models import MultiviewModels, check_models
from .reference_attention import predict
from .view_grid import ViewGrid, named_grid

# The model draws latents and colours in ranges of its own: latent = (x - SHIFT) * SCALE, colour * CONTRAST.
LATENT_SHIFT, LATENT_SCALE = 0.22, 0.75
CONTRAST = 0.5 / 0.8
LIVE_MAPS = 40  # upper estimate of feature maps of the latents' size and the least width that exist at once


@dataclass(frozen=True)
class ViewRequest:
    """What to draw: an object in the middle of ``image`` (H, W, 3) in [0, 1] on white, seen by the cameras of ``grid``.

    ``tile`` is the side of a view in pixels; absent, it is what the model was made for. ``guidance`` 1 draws without
    the comparison with a picture of nothing, in half the time. ``seed`` is taken as it is, 0 too.
    """

    image: torch.Tensor
    grid: ViewGrid = field(default_factory=lambda: named_grid("flexgen"))
    tile: int | None = None
    steps: int = 50
    guidance: float = 4.0
    seed: int = 0


@torch.no_grad()
def draw_views(models: MultiviewModels, request: ViewRequest, progress: Progress = silent) -> torch.Tensor:
    """The (H, W, 3) float32 picture of all views in [0, 1], on the CPU; ``request.grid`` splits it.

    One CPU generator, seeded with the request's seed, gives all noise: first that of the views, then what the VAE
    samples, then at every step that of the reference (which the published code took from elsewhere, bug B5) and that of
    the sampler; so every device and type starts alike. Raises Bundle3DError for what cannot be drawn, and whatever
    ``progress`` raises to cancel.
    """
    check_request(models, request)
    generator = torch.Generator().manual_seed(request.seed)
    factor = spatial_factor(models.vae)
    height, width = request.grid.size(tile_size(models, request))
    noise = torch.randn(1, models.vae.module.config.latent_channels, height // factor, width // factor,
                        generator=generator)  # fmt: skip
    total = request.steps + 2
    encoding = Stage(progress, 0, 1, total)
    conditioning = encode_picture(models, request.image, generator, request.guidance > 1, encoding)
    sampling = Stage(progress, 1, total - 1, total)
    latents = sample(models, conditioning, noise, request, generator, sampling)
    pixels = decode_pixels(models.vae, unscaled_latents(latents))
    image = (pixels[0].movedim(0, -1) / CONTRAST / 2 + 0.5).clamp(0, 1)
    progress(total, total, lambda: image)
    return image


def sample(
    models: MultiviewModels,
    conditioning: ViewConditioning,
    noise: torch.Tensor,
    request: ViewRequest,
    generator: torch.Generator,
    progress: Progress = silent,
) -> torch.Tensor:
    """Latents (1, C, h, w), in the model's own range, from ``noise`` of that shape with deviation 1.

    The state is float32 on the CPU whatever the model computes in. ``progress`` is called before the first and after
    every step.
    """
    scheduler = EulerAncestralDiscreteScheduler.from_config(models.scheduler)
    scheduler.set_timesteps(request.steps)
    latents = noise * scheduler.init_noise_sigma
    progress(0, request.steps)
    for index, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        sigma = scheduler.sigmas[index]
        fresh = torch.randn(conditioning.latents.shape, generator=generator)
        reference = (conditioning.latents + sigma * fresh) / (sigma**2 + 1) ** 0.5
        prediction = _predict(models.unet, scaled, reference, timestep, conditioning.tokens)
        if len(prediction) == 2:
            nothing, picture = prediction.chunk(2)
            prediction = nothing + request.guidance * (picture - nothing)
        step = scheduler.step(prediction, timestep, latents, generator)
        latents, clean = step.prev_sample, step.pred_original_sample
        progress(index + 1, request.steps, partial(_picture, models.vae, clean))
    return latents


def scaled_latents(latents: torch.Tensor) -> torch.Tensor:
    """Latents of the VAE, by its own constants, in the range that the model draws."""
    return (latents - LATENT_SHIFT) * LATENT_SCALE


def unscaled_latents(latents: torch.Tensor) -> torch.Tensor:
    """The inverse of ``scaled_latents``."""
    return latents / LATENT_SCALE + LATENT_SHIFT


def tile_size(models: MultiviewModels, request: ViewRequest) -> int:
    """The side of a view in pixels: the request's, or in the model's proportion to the picture that it is shown."""
    factor = spatial_factor(models.vae)
    return request.tile or max(factor, round(models.for_vae.crop * request.grid.share / factor) * factor)


def check_request(models: MultiviewModels, request: ViewRequest) -> None:
    """Raises Bundle3DError, before anything is computed, where ``request`` cannot be drawn by ``models``."""
    check_models(models)
    side, tile = spatial_factor(models.vae), tile_size(models, request)
    if tile < side or tile % side:
        raise Bundle3DError(f"Expected views of a multiple of {side} pixels, but got {tile}; round it.")
    if request.steps < 1:
        raise Bundle3DError(f"Expected at least 1 step, but got {request.steps}; the reference takes 50.")
    picture = request.image
    if picture.ndim != 3 or picture.shape[-1] != 3 or not picture.numel():
        raise Bundle3DError(
            f"Expected a picture of shape (height, width, 3), but got {tuple(picture.shape)}; give an RGB picture."
        )
    require_finite(picture)


def _predict(
    unet: Holder, latents: torch.Tensor, reference: torch.Tensor, timestep: torch.Tensor, tokens: torch.Tensor
) -> torch.Tensor:
    device, dtype = unet.compute_device, unet.compute_dtype
    count = len(tokens)
    inputs = (latents.expand(count, -1, -1, -1), reference, timestep, tokens)
    places = [tensor.to(device, torch.float32 if tensor is timestep else dtype) for tensor in inputs]
    memory = LIVE_MAPS * count * latents[0, 0].numel() * unet.module.config.block_out_channels[0] * dtype.itemsize
    with unet.use(memory) as module:
        return predict(module, *places).cpu().float()


def _picture(vae: Holder, latents: torch.Tensor) -> torch.Tensor:
    """A cheap look at latents in the model's range."""
    return ((preview(vae, unscaled_latents(latents)) - 0.5) / CONTRAST + 0.5).clamp(0, 1)
