from __future__ import annotations

from types import SimpleNamespace

import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.preview import color_chart, preview
from bundle3d.tests.support.tiny_flux import LATENT_CHANNELS, tiny_vae
from torch import nn


class LinearVae(nn.Module):
    """Latents are a fixed mixture of the colours, averaged over 8 x 8 pixels."""

    config = SimpleNamespace(block_out_channels=(8,) * 4, shift_factor=0.1, scaling_factor=0.5)
    use_tiling, tile_sample_min_size, tile_latent_min_size = False, 1024, 128

    def __init__(self) -> None:
        super().__init__()
        self.mixture = nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        averages = nn.functional.avg_pool2d(pixels, 8)
        mean = torch.einsum("lc,bchw->blhw", self.mixture, averages)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, std=torch.zeros_like(mean)))


@torch.no_grad()
def test_colours_are_found_again_where_latents_are_linear_in_them() -> None:
    vae = LinearVae()
    colors = torch.rand(4, 6, 3, generator=torch.Generator().manual_seed(1))
    latents = torch.einsum("lc,hwc->lhw", vae.mixture, colors * 2 - 1)[None]
    shown = preview(Resident(vae), (latents - 0.1) * 0.5)
    torch.testing.assert_close(shown, colors, rtol=0, atol=0.02)


def test_the_fit_is_made_once_per_vae() -> None:
    vae = LinearVae()
    latents = torch.randn(1, 6, 4, 6)
    first = preview(Resident(vae), latents)
    vae.encode = None
    assert torch.equal(preview(Resident(vae), latents), first)


@torch.no_grad()
def test_a_picture_has_a_pixel_per_latent_and_is_in_range() -> None:
    shown = preview(Resident(tiny_vae()), 10 * torch.randn(1, LATENT_CHANNELS, 8, 16))
    assert shown.shape == (8, 16, 3)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1


def test_the_chart_has_white_and_many_colours() -> None:
    chart = color_chart(torch.Generator().manual_seed(0))
    assert torch.equal(chart[:, :16], torch.ones(32, 16, 3))
    covariance = torch.cov(chart[:, 16:].reshape(-1, 3).T)
    assert float(torch.linalg.eigvalsh(covariance).min()) > 0.01
