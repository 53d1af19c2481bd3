"""Light from all around, as a formula: a sum of spherical Gaussians, so that blurring it needs no images.

A lobe ``color * exp(sharpness * (direction . axis - 1))`` blurred by a kernel around each direction is again close to
such a lobe: its energy stays and its mean cosine is multiplied by that of the kernel. Both properties are exact; only
the shape of the result is approximate. Diffuse light blurs with the clamped cosine, specular light with the GGX lobe at
normal incidence, the usual prefiltering of split-sum shading (specs/kiss3dgen.md section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

# Mean cosine of the clamped cosine kernel max(0, n.d) / pi.
DIFFUSE_MEAN_COSINE = 2.0 / 3.0
ROUGHNESS_RANGE = (0.04, 1.0)
_ROUGHNESS_STEPS = 64


@dataclass(frozen=True)
class Environment:
    """Light ``ambient`` (3,) plus Gaussian lobes: unit ``axes`` (K, 3), ``sharpness`` (K,), ``colors`` (K, 3)."""

    ambient: torch.Tensor
    axes: torch.Tensor
    sharpness: torch.Tensor
    colors: torch.Tensor

    def radiance(self, directions: torch.Tensor) -> torch.Tensor:
        """Linear light (..., 3) that comes from unit ``directions`` (..., 3)."""
        return self._gather(directions, *self._blurred_lobes(torch.ones(1)))

    def diffuse(self, normals: torch.Tensor) -> torch.Tensor:
        """Irradiance over pi (..., 3) on surfaces with unit ``normals`` (..., 3)."""
        return self._gather(normals, *self._blurred_lobes(torch.full((1,), DIFFUSE_MEAN_COSINE)))

    def specular(self, directions: torch.Tensor, roughness: torch.Tensor) -> torch.Tensor:
        """Light (..., 3) from around unit ``directions`` (..., 3), blurred by a GGX lobe of ``roughness`` (...)."""
        low, high = ROUGHNESS_RANGE
        place = (roughness.clamp(low, high) - low) / (high - low) * (_ROUGHNESS_STEPS - 1)
        index = place.floor().clamp(max=_ROUGHNESS_STEPS - 2).long()
        share = place - index
        tables = (table.to(directions) for table in self._blurred_lobes(_ggx_mean_cosines()))
        sharpness, peak = (torch.lerp(table[:, index], table[:, index + 1], share) for table in tables)
        return self._gather(directions, sharpness, peak)

    def _blurred_lobes(self, mean_cosines: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sharpness and height (K, T) of the lobes blurred by kernels of the given mean cosines (T,)."""
        sharpness = self.sharpness.double()[:, None]
        blurred = _sharpness_of(_mean_cosine_of(sharpness) * mean_cosines.double())
        return blurred, _integral(sharpness) / _integral(blurred)

    def _gather(self, directions: torch.Tensor, sharpness: torch.Tensor, peak: torch.Tensor) -> torch.Tensor:
        total = self.ambient.to(directions).expand(directions.shape).clone()
        axes, colors = self.axes.to(directions), self.colors.to(directions)
        for axis, color, narrow, high in zip(axes, colors, sharpness.to(directions), peak.to(directions)):
            lobe = high * torch.exp(narrow * ((directions * axis).sum(-1) - 1.0))
            total += lobe[..., None] * color
        return total


@lru_cache(maxsize=1)
def studio() -> Environment:
    """A bright, nearly neutral studio: a soft key from the front left, fills around, a sky panel and a dim floor."""
    lights = (  # azimuth, elevation, sharpness, red, green, blue
        (-40.0, 35.0, 8.0, 1.82, 1.77, 1.68),
        (55.0, 15.0, 6.0, 0.40, 0.42, 0.46),
        (140.0, 25.0, 8.0, 0.66, 0.68, 0.71),
        (-135.0, 25.0, 8.0, 0.80, 0.80, 0.78),
        (0.0, 90.0, 2.5, 0.58, 0.59, 0.61),
    )
    axes, sharpness, colors = [], [], []
    for azimuth, elevation, width, *color in lights:
        a, e = math.radians(azimuth), math.radians(elevation)
        axes.append((math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)))
        sharpness.append(width)
        colors.append(color)
    return Environment(
        torch.tensor((0.36, 0.36, 0.365)), torch.tensor(axes), torch.tensor(sharpness), torch.tensor(colors)
    )


def _mean_cosine_of(sharpness: torch.Tensor) -> torch.Tensor:
    """Mean of direction . axis under a normalised lobe: coth(s) - 1/s, with its series s/3 near zero."""
    safe = sharpness.clamp(min=1e-2)
    return torch.where(sharpness > 1e-2, 1.0 / torch.tanh(safe) - 1.0 / safe, sharpness / 3.0)


def _sharpness_of(mean_cosine: torch.Tensor) -> torch.Tensor:
    """The inverse of ``_mean_cosine_of``: a closed-form start (Banerjee et al. 2005, equation 4.4), then Newton."""
    r = mean_cosine.clamp(0.0, 0.9999)
    s = r * (3.0 - r * r) / (1.0 - r * r)
    for _ in range(3):
        a = _mean_cosine_of(s)
        s = (s - (a - r) / (1.0 - a * a - 2.0 * a / s.clamp(min=1e-6)).clamp(min=1e-9)).clamp(min=0.0)
    return s


def _integral(sharpness: torch.Tensor) -> torch.Tensor:
    """Integral of exp(s (cos - 1)) over the sphere: 2 pi (1 - exp(-2 s)) / s, with its limit 4 pi."""
    safe = sharpness.clamp(min=1e-4)
    return torch.where(
        sharpness > 1e-4, 2.0 * math.pi * (1.0 - torch.exp(-2.0 * safe)) / safe, torch.tensor(4.0 * math.pi)
    )


@lru_cache(maxsize=1)
def _ggx_mean_cosines() -> torch.Tensor:
    """Mean of n.l under the GGX kernel D(h) n.l seen along the normal, at evenly spaced roughness."""
    low, high = ROUGHNESS_RANGE
    alpha = torch.linspace(low, high, _ROUGHNESS_STEPS, dtype=torch.float64)[:, None] ** 2
    # Midpoints of the half vector's distribution function, which makes D(h) n.h uniform.
    u = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
    cos_squared = (1.0 - u) / (1.0 + (alpha * alpha - 1.0) * u)
    cos_light = (2.0 * cos_squared - 1.0).clamp(min=0.0)
    return (cos_light * cos_light).sum(-1) / cos_light.sum(-1)
