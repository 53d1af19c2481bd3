"""Smooth silhouettes whose pixels know how they change when the outline moves."""

from __future__ import annotations

import torch

from ..kernels import lacks_float64
from .barycentrics import pixel_centres
from .rasterise import Fragments
from .silhouette import Crossings, find_crossings


def antialias(
    image: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, fragments: Fragments, backend: str = "auto"
) -> torch.Tensor:
    """Blend ``image`` (V, H, W, C) across the silhouettes of the mesh that ``fragments`` show.

    Where an outline passes between two pixel centres nearer to the outer one, the outer pixel takes on the share of
    the inner one that the surface covers; otherwise the inner pixel takes on the share of the outer one. Differentiable
    in the image and, through the place of the outline, in ``clip`` (V, N, 4). Features thinner than a pixel can
    receive several shares and leave the range of the image. Source: specs/kernels.md section 3.
    """
    if lacks_float64(clip):
        home = clip.device
        return antialias(image.cpu(), clip.cpu(), faces.cpu(), fragments.to("cpu"), backend).to(home)
    height, width = fragments.face.shape[1:]
    crossings = find_crossings(clip, faces, fragments.face, fragments.depth, backend)
    weight = crossing_weights(clip, crossings, height, width).to(image)
    pixels = image.reshape(-1, image.shape[-1])
    difference = pixels.index_select(0, crossings.inner) - pixels.index_select(0, crossings.outer)
    target = torch.where(weight > 0, crossings.outer, crossings.inner)
    return pixels.index_add(0, target, difference * weight[:, None]).reshape(image.shape)


def crossing_weights(clip: torch.Tensor, crossings: Crossings, height: int, width: int) -> torch.Tensor:
    """How far (R,) float64, in pixels, each outline reaches beyond the middle between its inner and outer pixel."""
    points = clip.reshape(-1, 4).index_select(0, crossings.ends.reshape(-1)).reshape(-1, 2, 4).double()
    x, y = points[..., 0] / points[..., 3], points[..., 1] / points[..., 3]
    vertical = crossings.vertical[:, None]
    s, t = torch.where(vertical, x, y), torch.where(vertical, y, x)
    inner_x, inner_y = pixel_centres(crossings.inner, height, width)
    outer_x, outer_y = pixel_centres(crossings.outer, height, width)
    line = torch.where(crossings.vertical, inner_x, inner_y)
    inner, outer = (torch.where(crossings.vertical, b, a) for a, b in ((inner_x, inner_y), (outer_x, outer_y)))
    share = (line - s[:, 0]) / (s[:, 1] - s[:, 0])
    place = t[:, 0] + share * (t[:, 1] - t[:, 0])
    return (place - inner) / (outer - inner) - 0.5
