"""Attributes of vertices at the pixels that show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from ..errors import Bundle3DError
from ..kernels import bands, lacks_float64, resolve_backend, run_jobs
from .barycentrics import covered_barycentrics
from .barycentrics_numba import fill_attributes, pull_pixels
from .rasterise import Fragments

Array = np.ndarray


def check_attributes(attributes: torch.Tensor, clip: torch.Tensor) -> None:
    """Raise Bundle3DError unless attributes are (N, C) or (V, N, C) for clip coordinates (V, N, 4)."""
    views, count = clip.shape[:2]
    if attributes.ndim not in (2, 3) or attributes.shape[-2] != count or attributes.shape[:-2] not in ((), (views,)):
        raise Bundle3DError(
            f"Expected attributes of shape ({count}, C) or ({views}, {count}, C), but got {tuple(attributes.shape)}; "
            "give one row per vertex."
        )


def interpolate(
    attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, fragments: Fragments, backend: str = "auto"
) -> torch.Tensor:
    """Perspective-correct attributes (V, H, W, C) of ``attributes`` (N, C) or (V, N, C), zero where empty.

    Differentiable in the attributes and in ``clip`` (V, N, 4), for the pixels' given faces. Raises Bundle3DError for
    attributes of another shape.
    """
    check_attributes(attributes, clip)
    if lacks_float64(clip):
        home = clip.device
        return interpolate(attributes.cpu(), clip.cpu(), faces.cpu(), fragments.to("cpu"), backend).to(home)
    exact = attributes if clip.dtype == torch.float32 else clip
    if resolve_backend(backend, exact) == "numba":
        image: torch.Tensor = Interpolation.apply(
            attributes.float().contiguous(), clip.float().contiguous(), faces.int().contiguous(), fragments.face
        )
        return image
    pixel, corner, weights = covered_barycentrics(clip, faces.long(), fragments.face)
    if attributes.ndim == 2:
        corner = corner % clip.shape[1]
    channels = attributes.shape[-1]
    values = attributes.reshape(-1, channels).index_select(0, corner.reshape(-1)).reshape(-1, 3, channels)
    blended = (values * weights.to(values)[..., None]).sum(1)
    filled = blended.new_zeros(fragments.face.numel(), channels).index_copy(0, pixel, blended)
    return filled.reshape(*fragments.face.shape, channels)


class Interpolation(torch.autograd.Function):
    """The compiled way: attributes (N, C) or (V, N, C), clip (V, N, 4), faces (M, 3) int32, face ids (V, H, W)."""

    @staticmethod
    def forward(
        ctx: Any, attributes: torch.Tensor, clip: torch.Tensor, faces: torch.Tensor, face: torch.Tensor
    ) -> torch.Tensor:
        views, height, width = face.shape
        image = torch.empty(views, height, width, attributes.shape[-1], device="cpu")
        values, points, corners, shown, pixels = to_numpy(attributes, clip, faces, face, image)

        def work(view: int, top: int, end: int) -> None:
            here, rows = shown[view, top:end].reshape(-1), pixels[view, top:end].reshape(-1, pixels.shape[-1])
            fill_attributes(points[view], corners, of_view(values, view), here, top, height, width, rows)

        run_jobs(work, bands(views, height))
        ctx.save_for_backward(attributes, clip, faces, face)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        to_clip, to_values = pull_bands(ctx.saved_tensors, gradient)
        return to_values, to_clip, None, None


def pull_bands(
    saved: tuple[torch.Tensor, ...], gradient: torch.Tensor, also: Callable[[int, Array, Array], None] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What ``gradient`` (V, H, W, C) of an interpolated image means for the clip coordinates and the attributes.

    ``saved``: the tensors that Interpolation was given. ``also(view, to_clip, to_values)`` adds to a view's float64
    sums, once for each view.
    """
    values, points, corners, shown = to_numpy(*saved)
    incoming = gradient.contiguous().numpy()
    views, height, width = shown.shape

    def pull(view: int, top: int, end: int) -> tuple[int, Array, Array]:
        # float64 because a vertex of a large face collects from very many pixels
        to_clip, to_values = np.zeros(points.shape[-2:]), np.zeros(values.shape[-2:])
        here, rows = shown[view, top:end].reshape(-1), incoming[view, top:end].reshape(-1, incoming.shape[-1])
        pull_pixels(points[view], corners, of_view(values, view), here, top, height, width, rows, to_clip, to_values)
        if top == 0 and also is not None:
            also(view, to_clip, to_values)
        return view, to_clip, to_values

    to_clip, to_values = np.zeros(points.shape), np.zeros(values.shape)
    for view, clip_part, values_part in run_jobs(pull, bands(views, height)):
        to_clip[view] += clip_part
        total = of_view(to_values, view)
        total += values_part
    return torch.from_numpy(to_clip.astype(np.float32)), torch.from_numpy(to_values.astype(np.float32))


def to_numpy(*tensors: torch.Tensor) -> list[Array]:
    """Arrays that share memory with CPU tensors."""
    return [tensor.detach().numpy() for tensor in tensors]


def of_view(values: Array, view: int) -> Array:
    """One view's attributes (N, C), of attributes (N, C) or (V, N, C)."""
    return values if values.ndim == 2 else values[view]
