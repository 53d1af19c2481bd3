"""Bundles drawn in the middle of training, from conditioning that was encoded before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..diffusion.autoencoder import decode_latents, spatial_factor
from ..diffusion.control import PreparedControl, control_residuals
from ..diffusion.models import BundleModels
from ..diffusion.sampler import sample_heun
from ..diffusion.schedule import twice_shifted_sigmas
from ..diffusion.velocity import Conditioning, velocity
from .dataset import save_image

FOLDER = "validation"
GUIDANCE = 3.5  # what bundles are drawn with


@dataclass(frozen=True)
class Sample:
    """One bundle to draw: what it shall show, and the control picture (H, W, 3) that stands above it."""

    name: str
    conditioning: Conditioning
    control: PreparedControl | None = None


@torch.no_grad()
def draw_sample(models: BundleModels, sample: Sample, height: int, width: int, steps: int, seed: int) -> torch.Tensor:
    """The (height, width, 3) bundle in [0, 1] that ``draw_bundle`` would draw of the same seed and conditioning."""
    factor = spatial_factor(models.vae)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, models.latent_channels, height // factor, width // factor, generator=generator)
    controls = [] if sample.control is None else [sample.control]

    def flow(state: torch.Tensor, sigma: float, index: int) -> torch.Tensor:
        residuals = control_residuals(controls, state, sigma, sample.conditioning, models)
        return velocity(models.transformer, state, sigma, sample.conditioning, residuals)

    latents = latents.to(models.transformer.compute_device)
    latents = sample_heun(flow, latents, twice_shifted_sigmas(steps, models.shift))
    return decode_latents(models.vae, latents)


def draw_samples(
    models: BundleModels,
    samples: Sequence[Sample],
    size: tuple[int, int],
    steps: int,
    seed: int,
    run: Path,
    step: int,
) -> list[Path]:
    """Draws ``samples`` after training step ``step`` into the run's folder as PNG; control pictures come above."""
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for sample in samples:
        image = draw_sample(models, sample, *size, steps, seed)
        if sample.control is not None:
            image = torch.cat([sample.control.control.image, image])
        path = folder / f"step_{step:06d}_{sample.name}.png"
        save_image(image, path)
        paths.append(path)
    return paths
