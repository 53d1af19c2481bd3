"""Blurred light against brute-force integration over the sphere."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.rendering.environment import Environment, studio

# How far the shape of a blurred lobe may be off at its worst point, in mean light; its energy is exact.
SHAPE = 0.16


def directions(count: int) -> torch.Tensor:
    """Unit vectors (count, 3) spread evenly over the sphere."""
    index = torch.arange(count) + 0.5
    height = 1.0 - 2.0 * index / count
    angle = math.pi * (1.0 + 5.0**0.5) * index
    ring = (1.0 - height * height).sqrt()
    return torch.stack((ring * angle.cos(), height, ring * angle.sin()), dim=-1)


def mean_light(
    environment: Environment, axes: torch.Tensor, weights: torch.Tensor, sphere: torch.Tensor
) -> torch.Tensor:
    return (weights @ environment.radiance(sphere)) / weights.sum(dim=1, keepdim=True)


def test_diffuse_light_is_the_cosine_mean() -> None:
    axes, sphere = directions(50), directions(20000)
    expected = mean_light(studio(), axes, (axes @ sphere.T).clamp(min=0.0), sphere)
    assert float((studio().diffuse(axes) - expected).abs().max() / expected.mean()) < SHAPE


@pytest.mark.parametrize("roughness", [0.15, 0.5, 0.9, 1.0])
def test_specular_light_is_the_mean_over_the_ggx_lobe(roughness: float) -> None:
    axes, sphere = directions(50), directions(60000)
    cosine = axes @ sphere.T
    half_squared = (1.0 + cosine) / 2.0
    lobe = cosine.clamp(min=0.0) / (half_squared * (roughness**4 - 1.0) + 1.0) ** 2
    expected = mean_light(studio(), axes, lobe, sphere)
    found = studio().specular(axes, torch.full((50,), roughness))
    assert float((found - expected).abs().max() / expected.mean()) < SHAPE


@pytest.mark.parametrize("roughness", [0.04, 0.5, 1.0])
def test_blurring_keeps_the_light_and_its_direction(roughness: float) -> None:
    sphere = directions(60000)
    light = studio().radiance(sphere)
    blurred = studio().specular(sphere, torch.full((60000,), roughness))
    diffuse = studio().diffuse(sphere)
    assert torch.allclose(blurred.mean(0), light.mean(0), rtol=2e-3)
    assert torch.allclose(diffuse.mean(0), light.mean(0), rtol=2e-3)
    first, after = (torch.einsum("nc,nd->cd", image, sphere) / 60000 for image in (light, diffuse))
    assert torch.allclose(after, first * 2.0 / 3.0, atol=2e-3), "the clamped cosine keeps two thirds"


def test_a_mirror_shows_the_light_itself() -> None:
    axes = directions(50)
    found = studio().specular(axes, torch.full((50,), 0.04))
    assert torch.allclose(found, studio().radiance(axes), rtol=0.02)


def test_even_light_stays_even() -> None:
    even = Environment(torch.tensor((0.5, 0.6, 0.7)), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0, 3))
    axes = directions(7)
    for light in (even.radiance(axes), even.diffuse(axes), even.specular(axes, torch.rand(7))):
        assert torch.allclose(light, torch.tensor((0.5, 0.6, 0.7)).expand(7, 3))


def test_the_studio_keeps_albedo_readable() -> None:
    light = studio().diffuse(directions(500))
    assert 0.3 < float(light.min()) < float(light.max()) < 1.4
    assert 0.6 < float(light.mean()) < 0.9
    assert float((light / light.mean(-1, keepdim=True) - 1.0).abs().max()) < 0.06, "nearly neutral"
