"""Submanifold convolution: outputs at the occupied voxels alone, from their occupied neighbours alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..errors import Bundle3DError
from ..kernels import resolve_backend
from .neighbours import NEIGHBOURS
from .sparse_convolution_numba import convolve_numba

# Features of neighbours that are held at once: what fits into a core's cache, and what keeps a graphics card busy.
CACHED_BYTES, GATHERED_BYTES = 1 << 22, 1 << 28


def submanifold_convolution(
    features: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    neighbours: torch.Tensor,
    backend: str = "auto",
) -> torch.Tensor:
    """(N, Co) sums over the present neighbours of ``features`` (N, Ci) by ``weight`` (Co, 3, 3, 3, Ci), plus ``bias``.

    out(p) = bias + sum over k of weight[:, kx, ky, kz] in(p + k - 1), ``neighbours`` (27, N) as of `neighbour_map`.
    Differentiable once, in features, weights and bias (Co,). Source: specs/pixal3d.md section 3.3.

    Raises Bundle3DError for weights, bias or neighbours of another shape.
    """
    _check(features, weight, bias, neighbours)
    chosen = resolve_backend(backend, features)
    result: torch.Tensor = _Convolution.apply(features, weight, bias, neighbours, chosen)
    return result


class _Convolution(torch.autograd.Function):
    """Keeps what goes in alone: autograd itself would keep every neighbour's features."""

    @staticmethod
    def forward(
        context: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        neighbours: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        context.save_for_backward(features, weight, neighbours)
        context.backend = backend
        return _convolve(features, weight, bias, neighbours, backend)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, weight, neighbours = context.saved_tensors
        to_features = to_weight = to_bias = None
        if context.needs_input_grad[0]:
            # p + k - 1 has p at its offset 1 - k: the same sums with the weights mirrored and transposed.
            mirrored = weight.flip(1, 2, 3).transpose(0, 4)
            to_features = _convolve(gradient, mirrored, None, neighbours, context.backend)
        if context.needs_input_grad[1]:
            # in half precision the sums over many blocks would stand still
            sums = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32)).flatten(1)
            for rows, gathered in _gathered(features, neighbours):
                sums += gradient[rows].T @ gathered
            to_weight = sums.reshape(weight.shape).to(weight.dtype)
        if context.needs_input_grad[2]:
            to_bias = gradient.sum(0)
        return to_features, to_weight, to_bias, None, None


def _convolve(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, neighbours: torch.Tensor, backend: str
) -> torch.Tensor:
    if backend == "numba":
        return convolve_numba(features, weight, bias, neighbours)
    sums = features.new_empty(features.shape[0], weight.shape[0])
    matrix = weight.reshape(weight.shape[0], -1)
    for rows, gathered in _gathered(features, neighbours):
        sums[rows] = torch.nn.functional.linear(gathered, matrix, bias)
    return sums


def _gathered(features: torch.Tensor, neighbours: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Some rows, and the features (rows, 27 * C) of their neighbours with zeros where there are none; then others."""
    count, channels = features.shape
    bytes_at_once = CACHED_BYTES if features.device.type == "cpu" else GATHERED_BYTES
    rows = max(1, bytes_at_once // (NEIGHBOURS * channels * features.element_size()))
    for start in range(0, count, rows):
        some = slice(start, min(start + rows, count))
        near = neighbours[:, some].T.reshape(-1)
        gathered = features.index_select(0, near.clamp(min=0)).masked_fill_((near < 0)[:, None], 0.0)
        yield some, gathered.reshape(-1, NEIGHBOURS * channels)


def _check(features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, neighbours: torch.Tensor) -> None:
    count, channels = features.shape
    if weight.ndim != 5 or weight.shape[1:] != (3, 3, 3, channels):
        raise Bundle3DError(
            f"Expected weights of shape (Co, 3, 3, 3, {channels}), but got {tuple(weight.shape)}; check the checkpoint."
        )
    if bias is not None and bias.shape != (weight.shape[0],):
        raise Bundle3DError(
            f"Expected a bias of shape ({weight.shape[0]},), but got {tuple(bias.shape)}; check the checkpoint."
        )
    if neighbours.shape != (NEIGHBOURS, count):
        raise Bundle3DError(
            f"Expected neighbours of shape (27, {count}), but got {tuple(neighbours.shape)}; use those of these voxels."
        )
