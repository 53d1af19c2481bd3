"""Base colours from views in studio light. Source: specs/kiss3dgen.md 4 (shading model) and 10 (B17)."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..rendering.color import linear_to_srgb, srgb_to_linear
from ..rendering.environment import studio
from ..rendering.materials import plain
from ..rendering.shading import Surface, shade
from ..views.camera import Camera
from ..views.masks import unmix_white
from ..views.view_set import ViewSet


@torch.no_grad()
def without_studio_light(views: ViewSet) -> ViewSet:
    """``views`` with the base colours that look in matte shading as these do, by their own normals.

    That shading is a diffuse share times the base colour plus a reflection that is the same for all colours, so that
    it can be undone pixel by pixel; where light made a colour brighter than white, the base colour comes out too dark.
    """
    colors = unmix_white(views.rgb, views.mask)
    for index, camera in enumerate(views.rig):
        covered = views.mask[index] > 0.0
        colors[index, covered] = _base_colors(colors[index, covered], views.normal[index], covered, camera)
    mask = views.mask[..., None]
    return replace(views, rgb=colors * mask + 1.0 - mask)


def _base_colors(colors: torch.Tensor, normals: torch.Tensor, covered: torch.Tensor, camera: Camera) -> torch.Tensor:
    """sRGB base colours (P, 3) of the ``covered`` (H, W) pixels, which look ``colors`` (P, 3)."""
    directions = camera.rays(*covered.shape)[1].to(colors)[covered]
    one = torch.ones(len(colors), device=colors.device)
    surface = Surface(colors, one, one, one, torch.zeros_like(colors), one.bool())
    black, white = (shade(plain(surface, grey), normals[covered], -directions, studio()) for grey in (0.0, 1.0))
    return linear_to_srgb((srgb_to_linear(colors) - black) / (white - black))
