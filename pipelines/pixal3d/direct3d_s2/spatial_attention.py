"""Spatial sparse attention: a voxel sees all others merged, those of the best cubes one by one, and its window.

The modules' tensors carry the names of the published checkpoints. Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from ...volumes.block_attention import SCORES
from ...volumes.token_groups import TokenGroups, group_attention
from .config import GROUPS, SparseFlowConfig
from .layers import SparseConvolution
from .sparse_layout import SparseLayout


class SpatialSparseAttention(nn.Module):
    """The three kinds of attention, each weighted as a gate says of the voxel."""

    def __init__(self, config: SparseFlowConfig, shift: int) -> None:
        super().__init__()
        width, keys = config.width, config.key_width
        self.heads, self.key_heads = config.heads, config.key_heads
        self.most_selected, self.shift = config.most_selected, shift
        self.proj_q, self.proj_o = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.proj_k, self.proj_v = nn.Linear(width, keys, bias=False), nn.Linear(width, keys, bias=False)
        merging = _ConvolvedMean if config.convolves else _Mean
        self.compression_key, self.compression_value = merging(keys), merging(keys)
        self.intra_block_pe = nn.Parameter(torch.zeros(*[config.compression] * 3, keys))
        self.gate = nn.Sequential(nn.Linear(width, 3, bias=False), nn.Sigmoid())

    def forward(self, tokens: torch.Tensor, layout: SparseLayout) -> torch.Tensor:
        """(N, width) of ``tokens`` (N, width) at the voxels of ``layout``."""
        query, key, value = self.proj_q(tokens), self.proj_k(tokens), self.proj_v(tokens)
        x, y, z = layout.inside.unbind(1)
        placed_key = key + self.intra_block_pe.to(key)[x, y, z]
        merged_key = self.compression_key(placed_key, layout).unflatten(-1, (self.key_heads, -1))
        merged_value = self.compression_value(value, layout).unflatten(-1, (self.key_heads, -1))
        query = query.unflatten(-1, (self.heads, -1))
        key, value = (part.unflatten(-1, (self.key_heads, -1)) for part in (key, value))
        overview, best = merged_attention(query, merged_key, merged_value, layout.selected, self.most_selected)
        chosen = selected_attention(query, key, value, layout.selection, best)
        near = group_attention(query, key, value, layout.windows[self.shift])
        weights = self.gate(tokens)[:, :, None, None]
        mixed = weights[:, 0] * overview + weights[:, 1] * chosen + weights[:, 2] * near
        out: torch.Tensor = self.proj_o(mixed.flatten(-2))
        return out


def merged_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    selected: torch.Tensor,
    most_selected: int,
    scores: int = SCORES,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, H, D) attention of ``query`` (N, H, D) to merged ``key`` and ``value`` (M, K, D), and the cubes it is on.

    ``selected`` (M,) says in which of B cubes each merged key lies; those with the largest sum of attention over a
    query's heads that share keys are its best, (N, K, k) int64, k = min(``most_selected``, B). At most about
    ``scores`` attention scores exist at once.
    """
    shared = query.shape[1] // key.shape[1]
    count = int(selected.max()) + 1
    attended, best = [], []
    keys, values = key.permute(1, 2, 0), value.transpose(0, 1)[:, None]  # (K, D, M) and (K, 1, M, D)
    for some in query.split(max(1, scores // (query.shape[1] * len(key)))):
        grouped = some.unflatten(1, (-1, shared)).permute(1, 2, 0, 3)  # (K, shared, n, D)
        raw = grouped @ keys[:, None] / math.sqrt(query.shape[-1])
        weights = raw.softmax(-1, dtype=torch.promote_types(raw.dtype, torch.float32))
        attended.append((weights.to(value.dtype) @ values).permute(2, 0, 1, 3).flatten(1, 2))
        each = weights.sum(1)
        sums = each.new_zeros(*each.shape[:2], count).index_add_(2, selected, each)
        best.append(sums.topk(min(most_selected, count), dim=-1).indices.transpose(0, 1))
    return torch.cat(attended), torch.cat(best)


def selected_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    selection: TokenGroups,
    best: torch.Tensor,
    scores: int = SCORES,
) -> torch.Tensor:
    """(N, H, D) attention of ``query`` (N, H, D) to the ``key`` and ``value`` (N, K, D) of what lies in its best cubes.

    ``selection``: the voxels of each cube; ``best`` (N, K, k): the cubes that the heads of each shared key look into.
    At most about ``scores`` attention scores, and as many channels of keys, exist at once.
    """
    shared, head = query.shape[1] // key.shape[1], query.shape[2]
    places = torch.arange(selection.longest, device=query.device)
    at_once = max(1, scores // (best.shape[1] * best.shape[2] * selection.longest * max(shared, head)))
    key_head = torch.arange(key.shape[1], device=query.device)[:, None]
    attended = []
    for some, cubes in zip(query.split(at_once), best.split(at_once)):
        lengths = selection.lengths[cubes][..., None]
        rows = selection.order[selection.starts[cubes][..., None] + torch.minimum(places, lengths - 1)].flatten(2)
        present = (places < lengths).flatten(2)
        seen = functional.scaled_dot_product_attention(
            some.unflatten(1, (-1, shared)), key[rows, key_head], value[rows, key_head], attn_mask=present[:, :, None]
        )
        attended.append(seen.flatten(1, 2))
    return torch.cat(attended)


class _Mean(nn.Module):
    """Each voxel's channels mixed, then their means over the cubes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act_layers = nn.Sequential(SparseConvolution(channels, channels, side=1), nn.SiLU())

    def forward(self, features: torch.Tensor, layout: SparseLayout) -> torch.Tensor:
        mixed = self.act_layers[0](features, layout.merged_neighbours)
        return cube_means(self.act_layers[1](mixed), layout.merged)


class _ConvolvedMean(nn.Module):
    """Means over the cubes, and convolutions among these."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.act_layers = nn.Sequential(_ObjectNorm(GROUPS, channels), nn.SiLU())
        self.out_layers = nn.ModuleList(
            (
                SparseConvolution(channels, channels),
                _ObjectNorm(GROUPS, channels),
                nn.SiLU(),
                SparseConvolution(channels, channels),
            )
        )

    def forward(self, features: torch.Tensor, layout: SparseLayout) -> torch.Tensor:
        first, norm, silu, last = self.out_layers
        hidden = first(cube_means(self.act_layers(features), layout.merged), layout.merged_neighbours)
        out: torch.Tensor = last(silu(norm(hidden)), layout.merged_neighbours)
        return out + cube_means(features, layout.merged)


class _ObjectNorm(nn.GroupNorm):
    """Groups of channels (N, C), normed over all voxels of the object, in float32."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        weight, bias = self.weight.to(wide), self.bias.to(wide)
        normed = functional.group_norm(wide.T[None], self.num_groups, weight, bias, self.eps)
        return normed[0].T.to(features.dtype)


def cube_means(features: torch.Tensor, merged: torch.Tensor) -> torch.Tensor:
    """(M, C): the sum of ``features`` (N, C) over each cube's voxels by one more than their number.

    The published networks were trained with a mean that counts the zero it starts from.
    """
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    counts = torch.bincount(merged)
    sums = wide.new_zeros(len(counts), features.shape[1]).index_add_(0, merged, wide)
    return (sums / (counts + 1)[:, None]).to(features.dtype)
