"""Split-sum physically based shading of surface points, and the shading normal.

Source: specs/kiss3dgen.md section 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

from .environment import Environment

LUT_SIZE = 256
DIELECTRIC = 0.04
# Below this cosine between view and vertex normal the shading normal starts to bend toward the face normal.
BEND_COSINE = 0.1


@dataclass(frozen=True)
class Surface:
    """Material values at P points: linear ``base_color`` (P, 3), ``metallic``, ``roughness`` and ``occlusion`` (P,),
    linear ``emissive`` (P, 3), and ``unlit`` (P,) bool where the base colour is the whole answer."""

    base_color: torch.Tensor
    metallic: torch.Tensor
    roughness: torch.Tensor
    occlusion: torch.Tensor
    emissive: torch.Tensor
    unlit: torch.Tensor


def shade(surface: Surface, normals: torch.Tensor, views: torch.Tensor, environment: Environment) -> torch.Tensor:
    """Linear colour (P, 3) of points with unit ``normals`` (P, 3) and unit directions ``views`` (P, 3) toward the eye.

    diffuse(n) kd (1 - m) + specular(reflection, roughness) (F0 A + B), occluded, plus emission.
    """
    metallic = surface.metallic[:, None]
    specular_color = DIELECTRIC * (1.0 - metallic) + surface.base_color * metallic
    cosine = (normals * views).sum(-1)
    reflected = 2.0 * cosine[:, None] * normals - views
    scale, bias = sample_lut(surface.roughness, cosine)
    color = environment.diffuse(normals) * surface.base_color * (1.0 - metallic)
    color += environment.specular(reflected, surface.roughness) * (specular_color * scale[:, None] + bias[:, None])
    color = color * surface.occlusion[:, None] + surface.emissive
    return torch.where(surface.unlit[:, None], surface.base_color, color)


def shading_normals(vertex_normals: torch.Tensor, face_normals: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """Unit shading normals (P, 3) from interpolated ``vertex_normals``, ``face_normals`` and directions toward the eye.

    Both normals flip where the face is seen from behind; where the vertex normal turns from the eye, the result bends
    to the face normal. The inputs need not be unit.
    """
    vertex = torch.nn.functional.normalize(vertex_normals, dim=-1)
    face = torch.nn.functional.normalize(face_normals, dim=-1)
    behind = ((face * views).sum(-1, keepdim=True) < 0.0).to(face.dtype)
    sign = 1.0 - 2.0 * behind
    vertex, face = vertex * sign, face * sign
    share = ((vertex * views).sum(-1, keepdim=True) / BEND_COSINE).clamp(0.0, 1.0)
    return torch.nn.functional.normalize(torch.lerp(face, vertex, share), dim=-1)


def sample_lut(roughness: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale A and bias B (P,) of the specular colour, bilinear in the table, clamped at its border."""
    table = split_sum_lut().to(roughness)
    row, column = ((value * LUT_SIZE - 0.5).clamp(0.0, LUT_SIZE - 1.0) for value in (roughness, cosine))
    top, left = (place.floor().clamp(max=LUT_SIZE - 2).long() for place in (row, column))
    down, right = (row - top)[:, None], (column - left)[:, None]
    flat = table.reshape(-1, 2)
    corner = top * LUT_SIZE + left
    upper = torch.lerp(flat[corner], flat[corner + 1], right)
    lower = torch.lerp(flat[corner + LUT_SIZE], flat[corner + LUT_SIZE + 1], right)
    result = torch.lerp(upper, lower, down)
    return result[:, 0], result[:, 1]


@lru_cache(maxsize=1)
def split_sum_lut(polar_nodes: int = 32, azimuth_nodes: int = 16) -> torch.Tensor:
    """(256, 256, 2) table of (A, B): rows roughness, columns n.v, at pixel centres.

    GGX with alpha = roughness^2 and height-correlated Smith visibility, integrated over the half vector's distribution:
    A = mean (1 - Fc) G, B = mean Fc G with G = 4 V n.l v.h / n.h and Fc = (1 - v.h)^5.
    """
    # The integrand grows toward u = 1 (grazing half vectors), so the nodes crowd there: u = 1 - (1 - t)^3.
    rest = 1.0 - (torch.arange(polar_nodes, dtype=torch.float64) + 0.5) / polar_nodes
    u, weight = 1.0 - rest**3, (3.0 * rest**2 / polar_nodes).float()[:, None]
    phi = (torch.arange(azimuth_nodes, dtype=torch.float64) + 0.5) * (math.pi / azimuth_nodes)
    centres = (torch.arange(LUT_SIZE, dtype=torch.float64) + 0.5) / LUT_SIZE
    cos_view = centres[:, None, None].float()
    sin_view = (1.0 - cos_view * cos_view).sqrt()
    table = torch.empty(LUT_SIZE, LUT_SIZE, 2)
    for row, roughness in enumerate(centres.tolist()):
        alpha_squared = roughness**4
        cos_half = ((1.0 - u) / (1.0 + (alpha_squared - 1.0) * u)).sqrt()[:, None].float()
        sin_half = (1.0 - cos_half * cos_half).clamp(min=0.0).sqrt()
        view_half = sin_view * sin_half * phi.cos().float() + cos_view * cos_half
        cos_light = 2.0 * view_half * cos_half - cos_view
        lit = (cos_light > 0.0) & (view_half > 0.0)
        cos_light, view_half = cos_light.clamp(min=1e-6), view_half.clamp(min=0.0)
        smith = cos_light * (cos_view * cos_view * (1.0 - alpha_squared) + alpha_squared).sqrt()
        smith = smith + cos_view * (cos_light * cos_light * (1.0 - alpha_squared) + alpha_squared).sqrt()
        visible = weight * torch.where(lit, 2.0 * cos_light * view_half / (smith * cos_half), 0.0)
        fresnel = (1.0 - view_half) ** 5
        bias = (fresnel * visible).mean(dim=2).sum(dim=1)
        table[row, :, 0] = visible.mean(dim=2).sum(dim=1) - bias
        table[row, :, 1] = bias
    return table
