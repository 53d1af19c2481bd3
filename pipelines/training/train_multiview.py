"""Training a small multi-view UNet and its image encoder together. Source: specs/kiss3dgen.md 3.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from transformers import CLIPTextModel, CLIPVisionModelWithProjection, PreTrainedTokenizerBase

from ..multiview.conditioning import processed
from ..multiview.draw import CONTRAST, scaled_latents
from ..multiview.reference_attention import attend_to_references, predict
from ..progress import Progress, silent
from .demo_multiview_models import FOR_VAE, FOR_VISION, RAMP, SCHEDULER
from .loop import LoopOptions, train_to_average
from .multiview_dataset import PicturedObject
from .plain_attention import PlainAttention
from .train_vae import encode

BATCH = 16
ENCODED_AT_ONCE = 16
UNGUIDED_SHARE = 0.1  # of the examples that learn to draw from a picture of nothing
OPTIONS = LoopOptions(steps=8000, learning_rate=1e-3, warmup=200, average=0.999, save_every=250)


class PictureAndViews(torch.nn.Module):
    """What is trained together: the prediction for the latents of the views, given the picture."""

    def __init__(self, unet: UNet2DConditionModel, vision_encoder: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.unet, self.vision_encoder = unet, vision_encoder
        attend_to_references(unet)

    def forward(
        self,
        latents: torch.Tensor,
        reference: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        pixels: torch.Tensor,
        shown: torch.Tensor,
    ) -> torch.Tensor:
        """(B, C, H, W) for ``latents`` and ``reference``, noised as at ``timestep`` (B,).

        ``text`` (1, L, D) is the empty prompt's; the image encoder reads ``pixels`` (B, 3, S, S), which count where
        ``shown`` (B,) is 1.
        """
        embedding = self.vision_encoder(pixels).image_embeds * shown[:, None]
        tokens = text + embedding[:, None] * torch.tensor(RAMP)[:, None]
        return predict(self.unet, latents, reference, timestep, tokens)


@dataclass(frozen=True)
class EncodedViews:
    """Latents of the views (N, C, H, W) in the model's range, of the pictures (N, C, h, w) and of a picture of nothing
    (1, C, h, w), not scaled; pixels for the image encoder (N, 3, S, S); the empty prompt (1, L, D).
    """

    views: torch.Tensor
    pictures: torch.Tensor
    nothing: torch.Tensor
    pixels: torch.Tensor
    text: torch.Tensor


@torch.no_grad()
def encode_views(
    objects: Sequence[PicturedObject],
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: PreTrainedTokenizerBase,
    progress: Progress = silent,
) -> EncodedViews:
    """What training reads of ``objects``."""
    shift, scale = float(vae.config["shift_factor"] or 0.0), float(vae.config["scaling_factor"])
    views, pictures, pixels = [], [], []
    for start in range(0, len(objects), ENCODED_AT_ONCE):
        some = objects[start : start + ENCODED_AT_ONCE]
        pictured = 0.5 + (torch.stack([each.image() for each in some]) - 0.5) * CONTRAST
        views.append(scaled_latents((encode(vae, pictured) - shift) * scale))
        shown = [each.picture() for each in some]
        pictures.append(vae.encode(torch.cat([processed(each, FOR_VAE) for each in shown])).latent_dist.mean)
        pixels.append(torch.cat([processed(each, FOR_VISION) for each in shown]))
        progress(start + len(some), len(objects))
    nothing = vae.encode(torch.zeros(1, 3, FOR_VAE.crop, FOR_VAE.crop)).latent_dist.mean
    ids = tokenizer("", padding="max_length", max_length=len(RAMP), return_tensors="pt").input_ids
    text = text_encoder(ids).last_hidden_state
    return EncodedViews(torch.cat(views), torch.cat(pictures), nothing, torch.cat(pixels), text)


def train_multiview(
    model: PictureAndViews,
    data: EncodedViews,
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place by v-prediction; ends with the running average of its weights."""
    kept = EulerAncestralDiscreteScheduler.from_config(SCHEDULER).alphas_cumprod

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(data.views), (BATCH,), generator=generator)
        shown = (torch.rand(BATCH, generator=generator) >= UNGUIDED_SHARE).float()
        timestep = torch.randint(len(kept), (BATCH,), generator=generator)
        signal = kept[timestep].sqrt()[:, None, None, None]
        noise_level = (1 - kept[timestep]).sqrt()[:, None, None, None]
        clean = data.views[picked]
        noise = torch.randn(clean.shape, generator=generator)
        pictures = torch.where(shown[:, None, None, None] > 0, data.pictures[picked], data.nothing)
        reference = signal * pictures + noise_level * torch.randn(pictures.shape, generator=generator)
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            prediction = model(
                signal * clean + noise_level * noise, reference, timestep, data.text, data.pixels[picked], shown
            )
        return (prediction.float() - (signal * noise - noise_level * clean)).square().mean()

    train_to_average(model, loss, folder, options, seed, progress)
