"""What the networks of Pixal3D-D consist of: places as sines, attention, transformer blocks, sparse convolutions.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...volumes.block_attention import block_diagonal_attention
from ...volumes.sparse_convolution import submanifold_convolution
from ..flow_transformer import Condition
from ..transformer_layers import LONGEST_PERIOD, NORM_EPS, TIME_SCALE, HeadNorm, Mlp, TimeEmbedder


def place_embedding(places: torch.Tensor, width: int) -> torch.Tensor:
    """(N, width) float32 of ``places`` (N, 3): sines and cosines along x, then y, then z, then zeros."""
    each = width // 6
    powers = torch.arange(each, dtype=torch.float32, device=places.device) / each
    angles = places.float()[..., None] / LONGEST_PERIOD**powers
    waves = torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return functional.pad(waves, (0, width - waves.shape[1]))


class FullAttention(nn.Module):
    """Among all tokens of an object."""

    def __init__(self, width: int, heads: int, norms: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.q_rms_norm, self.k_rms_norm = head_norms(width, heads, norms)
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.to_qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(1)
        everything = [len(tokens)]
        attended = block_diagonal_attention(self.q_rms_norm(query), self.k_rms_norm(key), value, everything, everything)
        out: torch.Tensor = self.to_out(attended.flatten(-2))
        return out


class CrossAttention(nn.Module):
    """Of all tokens (N, width) to the few ``context`` (K, C) that stand for the picture as a whole."""

    def __init__(self, width: int, condition_width: int, heads: int, norms: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(condition_width, 2 * width)
        self.q_rms_norm, self.k_rms_norm = head_norms(width, heads, norms)
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        query = self.q_rms_norm(self.to_q(tokens).unflatten(-1, (self.heads, -1)))
        key, value = self.to_kv(context).unflatten(-1, (2, self.heads, -1)).unbind(1)
        attended = block_diagonal_attention(query, self.k_rms_norm(key), value, [len(tokens)], [len(context)])
        out: torch.Tensor = self.to_out(attended.flatten(-2))
        return out


def head_norms(width: int, heads: int, norms: bool) -> tuple[nn.Module, nn.Module]:
    """Of queries and keys; those of a model without norms have no tensors."""
    if not norms:
        return nn.Identity(), nn.Identity()
    return HeadNorm(heads, width // heads), HeadNorm(heads, width // heads)


class PictureAttention(nn.Module):
    """What a voxel takes from the picture, added to what it knows itself: no layer lies between."""

    def __init__(self, cross_attn_block: CrossAttention) -> None:
        super().__init__()
        self.cross_attn_block = cross_attn_block

    def forward(self, tokens: torch.Tensor, condition: Condition) -> torch.Tensor:
        seen: torch.Tensor = self.cross_attn_block(tokens, condition.tokens[0])
        return tokens + condition.projected + seen


class FlowBlock(nn.Module):
    """Self-attention, the picture and an MLP, modulated by the time."""

    def __init__(self, hidden: int, self_attn: nn.Module, cross_attn_block: CrossAttention) -> None:
        super().__init__()
        width = cross_attn_block.to_q.out_features
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.self_attn = self_attn
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = PictureAttention(cross_attn_block)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.mlp = Mlp(width, hidden)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, hidden: torch.Tensor, time: torch.Tensor, condition: Condition, *where: Any) -> torch.Tensor:
        """``hidden`` (N, width) at the embedded ``time`` (1, width); ``where`` tells the self-attention of places."""
        modulation = self.adaLN_modulation(time).chunk(6, dim=-1)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = modulation
        tokens = self.norm1(hidden) * (1 + scale_attention) + shift_attention
        hidden = hidden + self.self_attn(tokens, *where) * gate_attention
        hidden = hidden + self.cross_attn(self.norm2(hidden), condition)
        tokens = self.norm3(hidden) * (1 + scale_mlp) + shift_mlp
        return hidden + self.mlp(tokens) * gate_mlp


class Flow(nn.Module):
    """What both kinds of flow have around their blocks."""

    def __init__(self, channels: int, width: int, blocks: list[FlowBlock]) -> None:
        super().__init__()
        self.input_layer = nn.Linear(channels, width)
        self.t_embedder = TimeEmbedder(width)
        self.blocks = nn.ModuleList(blocks)
        self.out_layer = nn.Linear(width, channels)

    def flow(
        self,
        features: torch.Tensor,
        places: torch.Tensor,
        time: float,
        condition: Condition,
        dtype: torch.dtype,
        *where: Any,
    ) -> torch.Tensor:
        """(N, channels) of ``features`` (N, channels) at ``places`` (N, 3) at a ``time`` in [0, 1].

        Blocks compute in ``dtype``, the first and last layer and the time in the type of the features.
        """
        width = self.input_layer.out_features
        hidden = (self.input_layer(features) + place_embedding(places, width).to(features)).to(dtype)
        embedded = self.t_embedder(features.new_full((1,), TIME_SCALE * time)).to(dtype)
        for block in self.blocks:
            hidden = block(hidden, embedded, condition, *where)
        hidden = hidden.to(features.dtype)
        out: torch.Tensor = self.out_layer(functional.layer_norm(hidden, hidden.shape[-1:]))
        return out


class SparseConvolution(nn.Module):
    """Over a voxel's occupied neighbours with ``side`` 3, or over its own channels with 1; as of torchsparse."""

    def __init__(self, inputs: int, outputs: int, side: int = 3) -> None:
        super().__init__()
        self.conv = _Kernel(inputs, outputs, side)

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """(N, outputs) of ``features`` (N, inputs), ``neighbours`` (27, N) as of `neighbour_map`."""
        kernel, bias = self.conv.kernel.to(features), self.conv.bias.to(features)
        if kernel.ndim == 2:
            return functional.linear(features, kernel.T, bias)
        # Stored neighbour by neighbour, of whose offsets x runs fastest and z slowest.
        weight = kernel.unflatten(0, (3, 3, 3)).permute(4, 2, 1, 0, 3).contiguous()
        return submanifold_convolution(features, weight, bias, neighbours)


class _Kernel(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        shape = (inputs, outputs) if side == 1 else (side**3, inputs, outputs)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.kernel, std=(side**3 * inputs) ** -0.5)
