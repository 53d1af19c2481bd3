"""Training the demo family's autoencoder on crops of bundle images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ..progress import Progress, silent
from .dataset import CaptionedBundle
from .loop import LoopOptions, train_to_average

BATCH = 8
KL_WEIGHT = 1e-4
EDGE_WEIGHT = 0.5
SQUARE_WEIGHT = 2.0
OBJECT_WEIGHT = 3.0
WHITE = 250
OPTIONS = LoopOptions(steps=6000, learning_rate=1e-3, warmup=100, average=0.998, save_every=250)


def train_vae(
    vae: AutoencoderKL,
    bundles: Sequence[CaptionedBundle],
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``vae`` in place; afterwards its latents have mean 0 and deviation 1 by its own shift and scale."""
    images = torch.stack([(bundle.image() * 255.0).round().to(torch.uint8) for bundle in bundles])

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        columns = _columns(images, generator)
        pixels = (columns / 127.5 - 1.0).permute(0, 3, 1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = vae.encoder(pixels).chunk(2, dim=1)
            noise = torch.randn(mean.shape, generator=generator)
            decoded = vae.decoder(mean + noise * (0.5 * log_variance).exp())
        mean, log_variance, decoded = mean.float(), log_variance.float(), decoded.float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).mean()
        weight = 1.0 + OBJECT_WEIGHT * (columns < WHITE).any(dim=-1)[:, None]
        error = decoded - pixels
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        # Squares find the colours early on, where absolute errors alone settle for grey; these sharpen it later.
        differences = (weight * (SQUARE_WEIGHT * error.square() + 0.5 * error.abs())).mean()
        return differences + EDGE_WEIGHT * edges + KL_WEIGHT * divergence

    train_to_average(vae, loss, folder, options, seed, progress)
    fit_scale(vae, bundles[:200])


def finished_vae(folder: Path, make: Callable[[], AutoencoderKL]) -> AutoencoderKL:
    """What ``make`` trains, kept in ``folder``, and taken from there where an earlier call finished it."""
    finished = folder / "finished"
    if finished.is_dir():
        return AutoencoderKL.from_pretrained(finished).eval()
    vae = make()
    unfinished = folder / "unfinished"
    vae.save_pretrained(unfinished)
    unfinished.replace(finished)
    return vae


@torch.no_grad()
def fit_scale(vae: AutoencoderKL, bundles: Sequence[CaptionedBundle]) -> None:
    """Sets the shift and the scale that bring the latents of ``bundles`` to mean 0 and deviation 1."""
    latents = torch.cat([encode(vae, bundle.image()[None]) for bundle in bundles])
    vae.register_to_config(shift_factor=float(latents.mean()), scaling_factor=1.0 / float(latents.std()))


@torch.no_grad()
def encode(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Means of the latents (B, C, h, w), neither shifted nor scaled, of ``images`` (B, H, W, 3) in [0, 1]."""
    pixels = (2.0 * images - 1.0).permute(0, 3, 1, 2)
    return vae.encode(pixels.to(vae.dtype)).latent_dist.mean.float()


def _columns(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Single views, colours over normals, (B, H, W, 3) in [0, 255]: a few as they are, or more at half the size.

    The networks normalise over whole pictures. A view has the statistics of its bundle, which smaller crops have not.
    """
    halved = bool(torch.rand((), generator=generator) < 0.5)
    views = images.shape[2] // (images.shape[1] // 2)
    picked = torch.randint(len(images) * views, (BATCH if halved else BATCH // 4,), generator=generator).tolist()
    tiles = images.unflatten(2, (views, -1))
    columns = torch.stack([tiles[index // views, :, index % views] for index in picked]).float()
    if not halved:
        return columns
    return torch.nn.functional.avg_pool2d(columns.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
