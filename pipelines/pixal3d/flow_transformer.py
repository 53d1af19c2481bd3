"""The transformer that all four stages share: which way the latents at voxels flow, given what pictures show there.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md sections 2.7 and 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..errors import Bundle3DError
from ..volumes.block_attention import block_diagonal_attention
from ..volumes.rotary import rotary_phases, rotate
from ..volumes.sparse_voxels import SparseVoxels
from .config import FlowConfig
from .transformer_layers import NORM_EPS, TIME_SCALE, HeadNorm, Mlp, TimeEmbedder


@dataclass(frozen=True)
class Condition:
    """What pictures show: ``tokens`` (B, K, C) of each object as a whole, ``projected`` (N, P) of each voxel."""

    tokens: torch.Tensor
    projected: torch.Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Condition:
        """The same on another device, in another type."""
        return Condition(self.tokens.to(device, dtype), self.projected.to(device, dtype))

    def nothing(self) -> Condition:
        """That of as many pictures of zeros."""
        return Condition(torch.zeros_like(self.tokens), torch.zeros_like(self.projected))


class FlowTransformer(nn.Module):
    """Full self-attention among the voxels of an object; pictures are added voxel by voxel in every block."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.input_layer = nn.Linear(config.in_channels, width)
        self.t_embedder = TimeEmbedder(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.blocks))
        self.out_layer = nn.Linear(width, config.out_channels)
        for layer in (self.adaLN_modulation[1], self.out_layer):  # a new model starts without flow and modulation
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        voxels: SparseVoxels,
        times: torch.Tensor,
        condition: Condition | None,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """The flow (N, out channels) from object to noise at ``voxels`` (N, in channels) of B objects.

        ``times`` (B,) from 0 for the object to 1 for noise. Without a ``condition`` it is that of pictures of zeros,
        which costs nothing. The blocks compute in ``dtype``, the first and last layer and the times in the type of the
        voxels' features. Raises Bundle3DError where shapes disagree.
        """
        lengths = voxels.lengths()
        self._check(voxels, lengths, times, condition)
        layout = _Layout(
            lengths,
            voxels.coords[:, 0].long(),
            rotary_phases(voxels.coords[:, 1:], self.config.width // self.config.heads),
        )
        hidden = self.input_layer(voxels.features).to(dtype)
        modulation = self.adaLN_modulation(self.t_embedder((TIME_SCALE * times).to(voxels.features))).to(dtype)
        condition = condition if condition is None else condition.to(hidden.device, dtype)
        for block in self.blocks:
            hidden = block(hidden, modulation, layout, condition)
        hidden = hidden.to(voxels.features.dtype)
        flow: torch.Tensor = self.out_layer(functional.layer_norm(hidden, hidden.shape[-1:]))
        return flow

    def _check(
        self, voxels: SparseVoxels, lengths: list[int], times: torch.Tensor, condition: Condition | None
    ) -> None:
        if not lengths or voxels.features.shape[1] != self.config.in_channels or times.shape != (len(lengths),):
            raise Bundle3DError(
                f"Expected {self.config.in_channels} channels at voxels and a time for each of {len(lengths)} objects, "
                f"but got {tuple(voxels.features.shape)} and {tuple(times.shape)}; use the latents of this stage."
            )
        if condition is None:
            return
        expected = (len(lengths), self.config.condition_width, len(voxels.coords), self.config.projected_width)
        found = (len(condition.tokens), condition.tokens.shape[-1], *condition.projected.shape)
        if condition.tokens.ndim != 3 or found != expected:
            raise Bundle3DError(
                f"Expected tokens (B, K, C) and features (N, P) of pictures with B, C, N, P = {expected}, but got "
                f"{tuple(condition.tokens.shape)} and {tuple(condition.projected.shape)}; use the condition of this "
                "stage and of these voxels."
            )


@dataclass(frozen=True)
class _Layout:
    """Where the tokens are: how many of each object, the object (N,) and the rotary phases of each."""

    lengths: list[int]
    items: torch.Tensor
    phases: torch.Tensor

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values (B, C) of the objects for each of their tokens."""
        return values if len(self.lengths) == 1 else values.index_select(0, self.items)


class _Block(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.modulation = nn.Parameter(torch.empty(6 * width))
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.self_attn = _SelfAttention(width, config.heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.cross_attn = _PictureAttention(config)
        self.norm3 = nn.LayerNorm(width, eps=NORM_EPS, elementwise_affine=False)
        self.mlp = Mlp(width, config.hidden)
        nn.init.normal_(self.modulation, std=width**-0.5)

    def forward(
        self, hidden: torch.Tensor, modulation: torch.Tensor, layout: _Layout, condition: Condition | None
    ) -> torch.Tensor:
        own = modulation + self.modulation.to(modulation)
        shift_attention, scale_attention, gate_attention, shift_mlp, scale_mlp, gate_mlp = own.chunk(6, dim=-1)
        tokens = self.norm1(hidden) * (1 + layout.spread(scale_attention)) + layout.spread(shift_attention)
        hidden = hidden + self.self_attn(tokens, layout) * layout.spread(gate_attention)
        hidden = hidden + self.cross_attn(self.norm2(hidden), layout, condition)
        tokens = self.norm3(hidden) * (1 + layout.spread(scale_mlp)) + layout.spread(shift_mlp)
        return hidden + self.mlp(tokens) * layout.spread(gate_mlp)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.q_rms_norm, self.k_rms_norm = (HeadNorm(heads, width // heads) for _ in range(2))
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, layout: _Layout) -> torch.Tensor:
        query, key, value = self.to_qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(1)
        query = rotate(self.q_rms_norm(query), layout.phases)
        key = rotate(self.k_rms_norm(key), layout.phases)
        attended = block_diagonal_attention(query, key, value, layout.lengths, layout.lengths)
        out: torch.Tensor = self.to_out(attended.flatten(-2))
        return out


class _PictureAttention(nn.Module):
    """What a voxel takes from pictures: what lies on it, projected, and what it asks of the whole."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.projected_width = config.projected_width
        self.cross_attn_block = _CrossAttention(config)
        self.proj_linear = nn.Linear(config.projected_width, config.width)

    def forward(self, tokens: torch.Tensor, layout: _Layout, condition: Condition | None) -> torch.Tensor:
        if condition is None:
            return self.cross_attn_block.of_nothing(tokens) + self.proj_linear(
                tokens.new_zeros(1, self.projected_width)
            )
        return self.cross_attn_block(tokens, layout, condition.tokens) + self.proj_linear(condition.projected)


class _CrossAttention(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.condition_width = config.condition_width
        self.to_q = nn.Linear(width, width)
        self.to_kv = nn.Linear(config.condition_width, 2 * width)
        self.q_rms_norm, self.k_rms_norm = (HeadNorm(config.heads, width // config.heads) for _ in range(2))
        self.to_out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, layout: _Layout, context: torch.Tensor) -> torch.Tensor:
        query = self.q_rms_norm(self.to_q(tokens).unflatten(-1, (self.heads, -1)))
        key, value = self.to_kv(context).flatten(0, 1).unflatten(-1, (2, self.heads, -1)).unbind(1)
        seen = [context.shape[1]] * context.shape[0]
        attended = block_diagonal_attention(query, self.k_rms_norm(key), value, layout.lengths, seen)
        out: torch.Tensor = self.to_out(attended.flatten(-2))
        return out

    def of_nothing(self, tokens: torch.Tensor) -> torch.Tensor:
        """(1, width): what tokens of zeros answer, which is the same whatever is asked."""
        _, value = self.to_kv(tokens.new_zeros(1, self.condition_width)).chunk(2, dim=-1)
        out: torch.Tensor = self.to_out(value)
        return out
