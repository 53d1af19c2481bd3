"""From latents at sparse voxels to signed distances at eight times the resolution.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from ...errors import Bundle3DError
from ...progress import Progress, silent
from ...volumes.neighbours import neighbour_map
from ...volumes.sparse_voxels import SparseVoxels
from ...volumes.token_groups import TokenGroups, cubes, group_attention, groups_of
from ..transformer_layers import NORM_EPS, Mlp
from .config import DOUBLINGS, SdfDecoderConfig
from .layers import SparseConvolution, place_embedding

FACTOR = 2**DOUBLINGS
CHILDREN = FACTOR**3
PIECE = 16  # voxels along a piece of the lattice that is refined at once
# How far convolutions reach after a transformer, in its voxels, rounded up: one, then two halves, quarters and so on.
REACH = 3
WHOLE = 4096  # voxels that are refined at once whatever they span


class SdfDecoder(nn.Module):
    """A transformer with attention in windows, then convolutions between which every voxel splits into all eight."""

    def __init__(self, config: SdfDecoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.input_layer = nn.Linear(config.channels, config.width)
        self.blocks = nn.ModuleList(_Block(config, config.window // 2 * (block % 2)) for block in range(config.blocks))
        self.upsample = nn.ModuleList(_Doubling(own, after) for own, after in itertools.pairwise(widths))
        self.out_layer = nn.Linear(widths[-1], 1)

    def forward(
        self, latents: SparseVoxels, dtype: torch.dtype = torch.float32, progress: Progress = silent
    ) -> torch.Tensor:
        """(N, 512) signed distances in [-1, 1] at the 8^3 children of ``latents`` (N, C), of one object.

        A child's number is ``(x * 8 + y) * 8 + z`` of its place among them; negative is inside. The first and last
        layer compute in the type of the latents, all others in ``dtype``. ``progress`` counts voxels. Raises
        Bundle3DError for latents of other shapes.
        """
        if latents.features.shape[1] != self.config.channels or len(latents.lengths()) != 1:
            raise Bundle3DError(
                f"Expected voxels of one object with {self.config.channels} latent channels, but got "
                f"{tuple(latents.features.shape)} of {len(latents.lengths())} objects; use the latents of this stage."
            )
        places = latents.coords[:, 1:]
        hidden = self.input_layer(latents.features)
        hidden = (hidden + place_embedding(places, self.config.width).to(hidden)).to(dtype)
        windows = {
            shift: groups_of(cubes(places, self.config.window, shift)[1]) for shift in (0, self.config.window // 2)
        }
        for block in self.blocks:
            hidden = block(hidden, windows)
        distances = latents.features.new_empty(len(places), CHILDREN)
        done = 0
        for own, around in _pieces(places):
            piece = SparseVoxels(latents.coords[around], hidden[around], latents.resolution)
            distances[around[own]] = self._refined(piece, latents.features.dtype)[own]
            done += int(own.sum())
            progress(done, len(places))
        return distances

    def _refined(self, voxels: SparseVoxels, dtype: torch.dtype) -> torch.Tensor:
        neighbours = neighbour_map(voxels.coords, voxels.resolution)
        for block in self.upsample:
            finer, beside = _halves(voxels)
            voxels = finer.with_features(block(voxels.features, neighbours, beside))
            neighbours = beside
        distances = self.out_layer(voxels.features.to(dtype)).tanh()
        # Rows come parent by parent, level by level: in each, x is slower than y, y slower than z.
        nested = distances.unflatten(0, (-1, *[2] * (3 * DOUBLINGS)))[..., 0]
        order = [1 + 3 * level + axis for axis in range(3) for level in range(DOUBLINGS)]
        return nested.permute(0, *order).flatten(1)


def child_places(coords: torch.Tensor) -> torch.Tensor:
    """(N, 512, 3) places, in a lattice eight times as fine, of the children of voxels ``coords`` (N, 3) in order."""
    side = torch.arange(FACTOR, dtype=coords.dtype, device=coords.device)
    return FACTOR * coords[:, None] + torch.cartesian_prod(side, side, side)


def _pieces(places: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows that refine together (n,) int64, and which of them (n,) bool have all that they need among these."""
    if len(places) <= WHOLE:
        everything = torch.arange(len(places), device=places.device)
        yield torch.ones_like(everything, dtype=torch.bool), everything
        return
    for piece in cubes(places, PIECE)[0]:
        from_low = places - piece * PIECE
        around = ((from_low >= -REACH) & (from_low < PIECE + REACH)).all(1).nonzero().squeeze(1)
        inside = from_low[around]
        yield ((inside >= 0) & (inside < PIECE)).all(1), around


def _halves(voxels: SparseVoxels) -> tuple[SparseVoxels, torch.Tensor]:
    """All eight children of every voxel, parent by parent and x slowest, without features, and their neighbours."""
    steps = torch.cartesian_prod(*[torch.arange(2, dtype=torch.int32, device=voxels.coords.device)] * 3)
    steps = functional.pad(steps, (1, 0))
    double = voxels.coords * voxels.coords.new_tensor((1, 2, 2, 2))
    coords = (double[:, None] + steps).flatten(0, 1)
    resolution = 2 * voxels.resolution
    return SparseVoxels(coords, voxels.features.new_empty(len(coords), 0), resolution), neighbour_map(
        coords, resolution
    )


class _Block(nn.Module):
    def __init__(self, config: SdfDecoderConfig, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPS, elementwise_affine=False)
        self.attn = _WindowAttention(config.width, config.heads, shift)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPS, elementwise_affine=False)
        self.mlp = Mlp(config.width, config.hidden)

    def forward(self, hidden: torch.Tensor, windows: dict[int, TokenGroups]) -> torch.Tensor:
        hidden = hidden + self.attn(self.norm1(hidden), windows)
        out: torch.Tensor = hidden + self.mlp(self.norm2(hidden))
        return out


class _WindowAttention(nn.Module):
    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, windows: dict[int, TokenGroups]) -> torch.Tensor:
        query, key, value = self.to_qkv(tokens).unflatten(-1, (3, self.heads, -1)).unbind(1)
        out: torch.Tensor = self.to_out(group_attention(query, key, value, windows[self.shift]).flatten(-2))
        return out


class _Doubling(nn.Module):
    """A convolution, then the same features for all eight children, then a convolution among these."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.act_layers = nn.Sequential(SparseConvolution(inputs, outputs), nn.SiLU())
        self.out_layers = nn.Sequential(SparseConvolution(outputs, outputs), nn.SiLU())

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor, finer_neighbours: torch.Tensor) -> torch.Tensor:
        hidden = functional.silu(self.act_layers[0](features, neighbours))
        return functional.silu(self.out_layers[0](hidden.repeat_interleave(8, dim=0), finer_neighbours))
