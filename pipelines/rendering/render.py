"""Attributes and coverage in one call: what an optimiser of surfaces renders at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from ..kernels import bands, lacks_float64, resolve_backend, run_jobs, thread_count
from .antialias import antialias
from .antialias_numba import blend_crossings, pull_outlines
from .barycentrics_numba import fill_attributes, pull_shares
from .edges import Edges, find_edges
from .interpolate import check_attributes, interpolate, of_view, pull_bands, to_numpy
from .rasterise import check_geometry, rasterise
from .rasterise_numba import fill_band
from .screen import to_screen
from .silhouette import crossings_of_view

Array = np.ndarray


def render_attributes(
    attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, backend: str = "auto"
) -> torch.Tensor:
    """(V, H, W, C + 1): ``attributes`` (N, C) or (V, N, C) on black, then coverage, with antialiased silhouettes.

    Differentiable in the attributes and in ``clip`` (V, N, 4). Equal to rasterise, interpolate and antialias in turn;
    the compiled backend does it in one pass without the images in between. Raises Bundle3DError as they do.
    """
    check_geometry(clip, faces, height, width)
    check_attributes(attributes, clip)
    if lacks_float64(clip):
        return render_attributes(attributes.cpu(), clip.cpu(), faces.cpu(), height, width, backend).to(clip.device)
    exact = attributes if clip.dtype == torch.float32 else clip
    if resolve_backend(backend, exact) == "numba":
        compiled: torch.Tensor = Rendering.apply(
            attributes.float().contiguous(), clip.float().contiguous(), faces.int().contiguous(), height, width
        )
        return compiled
    fragments = rasterise(clip, faces, height, width, "torch")
    image = interpolate(attributes, clip, faces, fragments, "torch")
    image = torch.cat((image, fragments.mask[..., None].to(image)), dim=-1)
    return antialias(image, clip, faces, fragments, "torch")


class Rendering(torch.autograd.Function):
    """The compiled way: float32 attributes and clip, int32 faces. All state lives in the call, none in the module."""

    @staticmethod
    def forward(
        ctx: Any, attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, height: int, width: int
    ) -> torch.Tensor:
        views, channels = clip.shape[0], attributes.shape[-1] + 1
        image = torch.empty(views, height, width, channels, device="cpu")
        face = torch.empty(views, height, width, dtype=torch.int32, device="cpu")
        depth = torch.empty(views, height, width, device="cpu")
        values, points, corners, shown, nearest, pixels = to_numpy(attributes, clip, faces, face, depth, image)
        screen = to_screen(clip, faces, height, width, "numba")

        def draw(view: int, top: int, end: int) -> None:
            here, rows = shown[view, top:end], pixels[view, top:end].reshape(-1, channels)
            fill_band(screen, corners, view, top, nearest[view, top:end], here)
            fill_attributes(points[view], corners, of_view(values, view), here.reshape(-1), top, height, width, rows)

        def blend(view: int) -> tuple[Array, ...]:
            inner, outer, ends, vertical = to_numpy(*crossings_of_view(clip[view], edges, face[view], depth[view]))
            difference = np.empty((len(inner), channels), np.float32)
            weight, target = np.empty(len(inner)), np.empty_like(inner)
            flat = pixels[view].reshape(-1, channels)
            blend_crossings(points[view], inner, outer, ends, vertical, height, width, difference, weight, target, flat)
            return inner, outer, ends, vertical, difference, weight, target

        edges: Edges = find_edges(faces, clip.shape[1], "numba")
        run_jobs(draw, bands(views, height, max(8, 2 * thread_count())))
        ctx.crossings = run_jobs(blend, [(view,) for view in range(views)])
        ctx.save_for_backward(attributes, clip, faces, face)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        values, points, corners, shown = to_numpy(*ctx.saved_tensors)
        incoming = gradient.contiguous().numpy()
        height, width = shown.shape[1:]

        def pull_blend(view: int, to_clip: Array, to_values: Array) -> None:
            inner, outer, ends, vertical, difference, weight, target = ctx.crossings[view]
            mine, here = of_view(values, view), shown[view].reshape(-1)
            flat = incoming[view].reshape(-1, incoming.shape[-1])
            for pixel, factor in ((inner, weight), (outer, -weight)):
                pull_shares(
                    points[view], corners, mine, here, pixel, target, factor, height, width, flat, to_clip, to_values
                )
            pull_outlines(points[view], inner, outer, ends, vertical, height, width, difference, target, flat, to_clip)

        to_clip, to_values = pull_bands(ctx.saved_tensors, gradient, pull_blend)
        return to_values, to_clip, None, None, None
