"""What a multi-view model is told of the picture. Source: specs/kiss3dgen.md 3.2 (a) and (b)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..diffusion.autoencoder import encode_pixels
from ..progress import Progress, silent
from .models import MultiviewModels, PictureProcessing


@dataclass(frozen=True)
class ViewConditioning:
    """Tokens (B, L, D) and, not scaled, latents (B, C, h, w) of the picture; float32, on the CPU.

    With guidance B is 2: the picture of nothing comes first, the real one second.
    """

    tokens: torch.Tensor
    latents: torch.Tensor


@torch.no_grad()
def encode_picture(
    models: MultiviewModels,
    image: torch.Tensor,
    generator: torch.Generator,
    guided: bool = True,
    progress: Progress = silent,
) -> ViewConditioning:
    """The conditioning for an (H, W, 3) ``image`` in [0, 1], with that of nothing before it where ``guided``.

    Nothing is the empty prompt alone, and latents of a picture of zeros after processing, which is the mean colour.
    Both latents are samples of the VAE's distribution, the picture's drawn first. ``progress`` is called before each
    network, which may have to be loaded first.
    """
    parts = 4 if guided else 3
    pixels = processed(image, models.for_vae)
    progress(0, parts)
    latents = _sampled_latents(models, pixels, generator)
    progress(1, parts)
    text = _empty_prompt(models)
    progress(2, parts)
    embedding = _embedding(models, image)
    tokens = text + embedding[:, None] * torch.tensor(models.ramp)[:, None]
    if guided:
        progress(3, parts)
        nothing = _sampled_latents(models, torch.zeros_like(pixels), generator)
        tokens, latents = torch.cat([text, tokens]), torch.cat([nothing, latents])
    progress(parts, parts)
    return ViewConditioning(tokens, latents)


def processed(image: torch.Tensor, processing: PictureProcessing) -> torch.Tensor:
    """An (H, W, 3) picture in [0, 1] as (1, 3, crop, crop): resized by its shortest side, cut, normalised.

    Colours are rounded to 8 bit, as in the reference's pictures.
    """
    pixels = image.float().cpu().movedim(-1, 0)[None]
    sides = pixels.shape[-2:]
    # The longer side is cut to whole pixels, as transformers does it.
    size = [int(processing.shortest * side / min(sides)) for side in sides]
    if size != list(sides):
        pixels = functional.interpolate(pixels, size=size, mode=processing.filter, antialias=True)
    pixels = (pixels.clamp(0, 1) * 255).round() / 255
    top, left = ((side - processing.crop) // 2 for side in size)
    pixels = pixels[..., top : top + processing.crop, left : left + processing.crop]
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (processing.mean, processing.std))
    return (pixels - mean) / std


def _sampled_latents(models: MultiviewModels, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mean, deviation = encode_pixels(models.vae, pixels)
    return mean + deviation * torch.randn(mean.shape, generator=generator)


def _empty_prompt(models: MultiviewModels) -> torch.Tensor:
    """(1, L, D) of the empty prompt, after the encoder's last norm."""
    ids = models.tokenizer("", padding="max_length", max_length=len(models.ramp), return_tensors="pt").input_ids
    with models.text_encoder.use() as encoder:
        tokens: torch.Tensor = encoder(ids.to(models.text_encoder.compute_device))[0]
    return tokens.float().cpu()


def _embedding(models: MultiviewModels, image: torch.Tensor) -> torch.Tensor:
    """(1, D) of CLIP for the picture."""
    holder = models.vision_encoder
    pixels = processed(image, models.for_vision).to(holder.compute_device, holder.compute_dtype)
    with holder.use() as encoder:
        embedding: torch.Tensor = encoder(pixels).image_embeds
    return embedding.float().cpu()
