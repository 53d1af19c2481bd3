"""A cheap look at latents while they are drawn."""

from __future__ import annotations

import weakref

import torch
from torch.nn import functional

from .autoencoder import encode_image, spatial_factor
from .holder import Holder

ROWS, COLUMNS = 32, 64  # latents of the chart
RIDGE = 1e-3

_weights: weakref.WeakKeyDictionary[torch.nn.Module, torch.Tensor] = weakref.WeakKeyDictionary()


def preview(vae: Holder, latents: torch.Tensor) -> torch.Tensor:
    """An (h, w, 3) estimate in [0, 1] of the picture that (1, C, h, w) latents stand for, one pixel per latent.

    Each pixel is a linear function of its latent. The function is fitted once per VAE to what this VAE makes of a
    colour chart, so it fits every VAE.
    """
    return _affine(latents[0].float().cpu().movedim(0, -1), preview_weights(vae)).clamp(0, 1)


def preview_weights(vae: Holder) -> torch.Tensor:
    """The (C + 1, 3) factors of each channel, and last of 1, that make colours in [0, 1] of latents."""
    weights = _weights.get(vae.module)
    if weights is None:
        weights = _weights[vae.module] = _fit(vae)
    return weights


def _fit(vae: Holder) -> torch.Tensor:
    """The factors by least squares."""
    generator = torch.Generator().manual_seed(0)
    colors = color_chart(generator)
    factor = spatial_factor(vae)
    chart = functional.interpolate(colors.movedim(-1, 0)[None], scale_factor=factor, mode="bilinear")[0].movedim(0, -1)
    latents = encode_image(vae, chart, generator)[0].movedim(0, -1).flatten(0, 1)
    known = torch.cat([latents, torch.ones(len(latents), 1)], dim=1)
    averages = functional.avg_pool2d(chart.movedim(-1, 0)[None], factor)[0].movedim(0, -1).flatten(0, 1)
    return torch.linalg.solve(known.T @ known + RIDGE * torch.eye(known.shape[1]), known.T @ averages)


def color_chart(generator: torch.Generator) -> torch.Tensor:
    """(32, 64, 3) colours that vary at three scales, the left quarter white as a bundle's background."""
    chart = torch.zeros(1, 3, ROWS, COLUMNS)
    for scale in (4, 8, 16):
        noise = torch.rand(1, 3, ROWS // scale, COLUMNS // scale, generator=generator)
        chart += functional.interpolate(noise, size=(ROWS, COLUMNS), mode="bicubic") - 0.5
    chart = (chart + 0.5).clamp(0, 1)
    chart[..., : COLUMNS // 4] = 1
    return chart[0].movedim(0, -1)


def _affine(latents: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return latents @ weights[:-1] + weights[-1]
