"""From words and pictures to a 3D bundle image. Source: specs/kiss3dgen.md 2.3, 2.4, 3.5, 3.6."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from ..views.finite import require_finite
from .autoencoder import decode_latents, encode_image, spatial_factor
from .control import Control, check_control, control_residuals, is_active, prepare_control
from .control_image import resized
from .encode_prompt import encode_prompt
from .models import BundleModels, check_models
from .preview import preview
from .redux import redux_tokens
from .sampler import sample_heun
from .schedule import check_redrawing, evaluations, first_step, twice_shifted_sigmas
from .velocity import Conditioning, velocity


@dataclass(frozen=True)
class BundleRequest:
    """What to draw. Pictures are (H, W, 3) in [0, 1] and are resized to the bundle's size.

    ``prompt`` describes the object; the reference's sentence is put in front. ``seed`` is taken as it is, 0 too (the
    reference turned 0 into its default, bug B5 of specs/kiss3dgen.md 10). ``strength`` in [0, 1] is how much of
    ``initial_image`` is redrawn: 0 gives it back as it is; see ``first_step`` for why 1 still keeps a trace of it.
    """

    prompt: str
    height: int = 1024
    width: int = 2048
    steps: int = 20
    guidance: float = 3.5
    seed: int = 0
    initial_image: torch.Tensor | None = None
    strength: float = 0.95
    controls: tuple[Control, ...] = ()
    redux_image: torch.Tensor | None = None
    redux_strength: float = 0.5
    lora_scale: float = 1.0


@torch.no_grad()
def draw_bundle(models: BundleModels, request: BundleRequest, progress: Progress = silent) -> torch.Tensor:
    """The (height, width, 3) float32 bundle in [0, 1], on the CPU.

    One CPU generator, seeded with the request's seed, gives the noise in float32 and after it what the VAE samples for
    the initial picture and the controls, in this order; so every device and type starts alike, and pictures do not
    change the noise. Raises Bundle3DError for what cannot be drawn, and whatever ``progress`` raises to cancel.
    """
    check_request(models, request)
    height, width = request.height, request.width
    if request.initial_image is not None and request.strength == 0.0:
        return resized(request.initial_image, height, width).cpu()  # the VAE would change it
    generator = torch.Generator().manual_seed(request.seed)
    factor = spatial_factor(models.vae)
    latents = torch.randn(1, models.latent_channels, height // factor, width // factor, generator=generator)
    sigmas = twice_shifted_sigmas(request.steps, models.shift)
    if request.initial_image is not None:
        sigmas = sigmas[first_step(request.steps, request.strength) :]
    count = evaluations(sigmas)
    total = count + 2
    progress(0, total)

    conditioning = _conditioning(models, request)
    if request.initial_image is not None:
        start = encode_image(models.vae, resized(request.initial_image, height, width), generator)
        latents = sigmas[0] * latents + (1 - sigmas[0]) * start
    controls = [prepare_control(models, control, height, width, generator) for control in request.controls]

    def flow(state: torch.Tensor, sigma: float, index: int) -> torch.Tensor:
        active = [prepared for prepared in controls if is_active(prepared.control, index, count)]
        residuals = control_residuals(active, state, sigma, conditioning, models)
        return velocity(models.transformer, state, sigma, conditioning, residuals, request.lora_scale)

    sampling = Stage(progress, 1, total - 1, total)
    latents = latents.to(models.transformer.compute_device)
    latents = sample_heun(flow, latents, sigmas, sampling, lambda clean: preview(models.vae, clean))
    image = decode_latents(models.vae, latents)
    progress(total, total, lambda: image)
    return image


def check_request(models: BundleModels, request: BundleRequest) -> None:
    """Raises Bundle3DError, before anything is computed, where ``request`` cannot be drawn by ``models``."""
    check_models(models, [control.net for control in request.controls])
    side = models.pixels_per_token
    if min(request.height, request.width) < side or request.height % side or request.width % side:
        raise Bundle3DError(
            f"Expected a height and a width that are multiples of {side} pixels, but got {request.height} x "
            f"{request.width}; round them."
        )
    if request.steps < 1:
        raise Bundle3DError(f"Expected at least 1 step, but got {request.steps}; the reference takes 20.")
    if request.initial_image is not None:
        check_redrawing(request.steps)
    if not 0 <= request.strength <= 1:
        raise Bundle3DError(
            f"Expected a strength between 0 and 1, but got {request.strength}; the reference takes 0.95."
        )
    if request.redux_image is not None and models.redux is None:
        raise Bundle3DError(
            "Expected a Redux model for the Redux image, but none is loaded; load one or leave the image."
        )
    for control in request.controls:
        check_control(control)
    pictures = [request.initial_image, request.redux_image, *(control.image for control in request.controls)]
    for picture in pictures:
        if picture is not None and (picture.ndim != 3 or picture.shape[-1] != 3 or not picture.numel()):
            raise Bundle3DError(
                f"Expected pictures of shape (height, width, 3), but got {tuple(picture.shape)}; give RGB pictures."
            )
    require_finite(*(picture for picture in pictures if picture is not None))


def _conditioning(models: BundleModels, request: BundleRequest) -> Conditioning:
    text, pooled = encode_prompt(models, request.prompt, request.lora_scale)
    if request.redux_image is not None and models.redux is not None:
        tokens = redux_tokens(models.redux, request.redux_image) * request.redux_strength
        text = torch.cat([text, tokens.to(text.device, text.dtype)], dim=1)
    device, dtype = models.transformer.compute_device, models.transformer.compute_dtype
    return Conditioning(text.to(device, dtype), pooled.to(device, dtype), request.guidance)
