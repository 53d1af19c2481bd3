"""Layers that keep their weights as the file has them and cast them when they compute.

A weight may be stored in fp8, fp16 or bf16 and lie on another device than the input: each layer brings what it needs to
the input's device and type for the length of its own computation. So a quantised file stays quantised in memory, a
memory manager may keep any part of a network elsewhere, and LoRA layers on top compute in the type of the activations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
Module = TypeVar("Module", bound=nn.Module)


class CastingLayer(nn.Module):
    """What the layers here have in common, for whoever manages their memory.

    ``weight_scale`` is what a scaled fp8 file divided the weight by, ``compute_dtype`` what comes out where the input
    is no floating-point number.
    """

    weight: Any
    weight_scale: torch.Tensor | None
    compute_dtype: torch.dtype

    def weight_for(self, input: torch.Tensor) -> torch.Tensor:
        """The weight on the device and in the type of ``input``."""
        weight = _like(self.weight, input)
        return weight if self.weight_scale is None else weight * _like(self.weight_scale, input)


def _like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return tensor.to(device=other.device, dtype=other.dtype, non_blocking=True)


class CastingLinear(CastingLayer, nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.linear(input, self.weight_for(input), None if self.bias is None else _like(self.bias, input))


class CastingLayerNorm(CastingLayer, nn.LayerNorm):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = None if self.weight is None else self.weight_for(input)
        bias = None if self.bias is None else _like(self.bias, input)
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class CastingRMSNorm(CastingLayer, nn.RMSNorm):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        weight = None if self.weight is None else self.weight_for(input)
        return F.rms_norm(input, self.normalized_shape, weight, self.eps)


class CastingT5LayerNorm(CastingLayer):
    """T5's norm: no mean, no bias, and the mean square in float32."""

    variance_epsilon: float

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        mean_square = hidden_states.float().square().mean(-1, keepdim=True)
        normed = (hidden_states.float() * torch.rsqrt(mean_square + self.variance_epsilon)).to(hidden_states.dtype)
        return normed * self.weight_for(hidden_states)


class CastingEmbedding(CastingLayer, nn.Embedding):
    """Looks rows up where and as they are stored, and casts only these."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = F.embedding(input.to(self.weight.device), self.weight, self.padding_idx)
        rows = rows.to(device=input.device, dtype=self.compute_dtype)
        return rows if self.weight_scale is None else rows * self.weight_scale.to(rows)


class PlainGatedFeedForward(nn.Module):
    """T5's gated feed-forward layer, without casting activations to the type that the last weight is stored in."""

    wi_0: nn.Module
    wi_1: nn.Module
    wo: nn.Module
    act: nn.Module
    dropout: nn.Module

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.wo(self.dropout(self.act(self.wi_0(hidden_states)) * self.wi_1(hidden_states)))


CASTING: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: CastingLinear,
    nn.LayerNorm: CastingLayerNorm,
    nn.RMSNorm: CastingRMSNorm,
    nn.Embedding: CastingEmbedding,
}
# Layers of transformers go by their names, so that importing this does not import all of transformers.
CASTING_BY_NAME: dict[str, type[nn.Module]] = {
    "T5LayerNorm": CastingT5LayerNorm,
    "T5DenseGatedActDense": PlainGatedFeedForward,
}


def cast_weights(module: Module, compute_dtype: torch.dtype) -> Module:
    """Makes every layer of ``module`` compute in the type of its input, embeddings in ``compute_dtype``.

    Weights stay stored as they are, except that those wider than ``compute_dtype``, and those of layers that cannot
    cast, are converted to it. Works in place, and again after layers (LoRA's) were added.
    """
    for layer in module.modules():
        casting = CASTING.get(type(layer)) or CASTING_BY_NAME.get(type(layer).__name__)
        if casting is not None:
            layer.__class__ = casting
            if isinstance(layer, CastingLayer):
                layer.register_buffer("weight_scale", None, persistent=False)
        if isinstance(layer, CastingLayer):
            layer.compute_dtype = compute_dtype
        # A subclass of these that is not ours casts in its own way.
        casts = isinstance(layer, (CastingLayer, *CASTING))
        for parameter in layer.parameters(recurse=False):
            if not casts or parameter.dtype.itemsize > compute_dtype.itemsize:
                parameter.data = parameter.data.to(compute_dtype)
    return module


def compute_dtype_of(module: nn.Module) -> torch.dtype:
    """The type in which ``module`` computes, whatever its weights are stored in."""
    for layer in module.modules():
        if isinstance(layer, (CastingEmbedding, CastingLinear)):
            return layer.compute_dtype
    return next(parameter.dtype for parameter in module.parameters() if parameter.dtype not in FP8)


def main_dtype(tensors: Iterable[torch.Tensor]) -> torch.dtype:
    """The type that most of the numbers in ``tensors`` are stored in; fp8 files keep a few in wider ones."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        counts[tensor.dtype] += tensor.numel()
    return counts.most_common(1)[0][0]


def natural_compute_dtype(stored: torch.dtype) -> torch.dtype:
    """What to compute in where nobody says it: the stored type, or bfloat16 for fp8."""
    return torch.bfloat16 if stored in FP8 else stored
