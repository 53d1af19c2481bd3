"""Submanifold convolution: outputs at the occupied voxels alone, from their occupied neighbours alone."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from .neighbours import NEIGHBOURS

GATHERED_BYTES = 1 << 27  # features of neighbours that are held at once


def submanifold_convolution(
    features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, neighbours: torch.Tensor
) -> torch.Tensor:
    """(N, Co) sums over the present neighbours of their ``features`` (N, Ci) by ``weight`` (Co, 3, 3, 3, Ci), and ``bias``.

    out(p) = bias + sum over k of weight[:, kx, ky, kz] in(p + k - 1), ``neighbours`` (27, N) as of `neighbour_map`.
    Source: specs/pixal3d.md section 3.3.
    """
    _check(features, weight, bias, neighbours)
    count, channels = features.shape
    matrix = weight.reshape(weight.shape[0], -1)
    rows = max(1, GATHERED_BYTES // (NEIGHBOURS * channels * features.element_size()))
    parts = []
    for start in range(0, count, rows):
        near = neighbours[:, start : start + rows].T
        gathered = features.index_select(0, near.reshape(-1).clamp(min=0))
        gathered = gathered.masked_fill((near < 0).reshape(-1, 1), 0.0)
        parts.append(torch.nn.functional.linear(gathered.reshape(near.shape[0], -1), matrix, bias))
    return torch.cat(parts) if parts else features.new_zeros(0, weight.shape[0])


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
