"""Training the demo family's transformer and text encoders together by flow matching on encoded bundles.

Source: specs/kiss3dgen.md sections 2.2 to 2.4 (flow-matching loss, trigger sentence, latent packing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

from ..diffusion.encode_prompt import TRIGGER, reference_prompt
from ..diffusion.latents import image_ids, pack, text_ids
from ..progress import Progress, silent
from .dataset import CaptionedBundle
from .flow_step import add_noise
from .loop import LoopOptions, train_to_average
from .plain_attention import PlainAttention
from .train_vae import encode
from .whole_file import whole_file

BATCH = 16
ENCODED_AT_ONCE = 8
GUIDANCE = 3.5
SHIFT = 3.0
OPTIONS = LoopOptions(steps=8000, learning_rate=1.5e-3, average=0.999, save_every=250)


class TextAndFlow(torch.nn.Module):
    """What is trained together: the velocity of latents at a noise level, given token ids."""

    def __init__(
        self, transformer: FluxTransformer2DModel, text_encoder: CLIPTextModel, text_encoder_2: T5EncoderModel
    ) -> None:
        super().__init__()
        self.transformer, self.text_encoder, self.text_encoder_2 = transformer, text_encoder, text_encoder_2

    def forward(
        self, latents: torch.Tensor, ids: torch.Tensor, sigma: torch.Tensor, clip: torch.Tensor, t5: torch.Tensor
    ) -> torch.Tensor:
        """Velocity (B, tokens, channels) at packed ``latents`` and ``sigma`` (B,), for CLIP and T5 token ids."""
        text = self.text_encoder_2(t5).last_hidden_state
        velocity: torch.Tensor = self.transformer(
            hidden_states=latents,
            encoder_hidden_states=text,
            pooled_projections=self.text_encoder(clip).pooler_output,
            timestep=sigma,
            img_ids=ids,
            txt_ids=text_ids(text.shape[1]),
            guidance=torch.full_like(sigma, GUIDANCE),
            return_dict=False,
        )[0]
        return velocity


@dataclass(frozen=True)
class EncodedBundles:
    """Packed, normalised latents (N, tokens, channels), their ids (tokens, 3), and the token ids of the texts."""

    latents: torch.Tensor
    ids: torch.Tensor
    clip: torch.Tensor
    t5: torch.Tensor


def training_texts(bundles: Sequence[CaptionedBundle]) -> list[str]:
    """What T5 reads for ``bundles``."""
    return [reference_prompt(bundle.caption)[1] for bundle in bundles]


def encode_bundles(
    bundles: Sequence[CaptionedBundle],
    vae: AutoencoderKL,
    tokenizer: PreTrainedTokenizerBase,
    tokenizer_2: PreTrainedTokenizerBase,
    cache: Path,
    progress: Progress = silent,
) -> EncodedBundles:
    """What training reads of ``bundles``; the latents are kept at ``cache`` and taken from there the next time."""
    if cache.is_file():
        packed = torch.from_numpy(np.load(cache))
    else:
        rows = []
        for start in range(0, len(bundles), ENCODED_AT_ONCE):
            images = torch.stack([bundle.image() for bundle in bundles[start : start + ENCODED_AT_ONCE]])
            latents = (encode(vae, images) - vae.config["shift_factor"]) * vae.config["scaling_factor"]
            rows.append(pack(latents).half())
            progress(start + len(images), len(bundles))
        packed = torch.cat(rows)
        with whole_file(cache) as unfinished, unfinished.open("wb") as file:
            np.save(file, packed.numpy())
    height, width, _ = bundles[0].image().shape
    factor = 2 ** len(vae.config["block_out_channels"])
    texts = training_texts(bundles)
    clip = tokenizer(TRIGGER, padding="max_length", truncation=True, return_tensors="pt").input_ids
    t5 = tokenizer_2(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return EncodedBundles(packed, image_ids(height // factor, width // factor), clip, t5)


def train_flow(
    model: TextAndFlow,
    data: EncodedBundles,
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to the velocity ``noise - latents``; ends with the running average of its weights."""

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(data.latents), (BATCH,), generator=generator)
        clean = data.latents[picked].float()
        noised, sigma, target = add_noise(clean, SHIFT, generator)
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            velocity = model(noised, data.ids, sigma, data.clip.expand(BATCH, -1), data.t5[picked])
        return (velocity.float() - target).square().mean()

    train_to_average(model, loss, folder, options, seed, progress)
