"""From latents at sparse voxels to shape or material at voxels many times finer.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/pixal3d.md section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from ..errors import Bundle3DError
from ..progress import Progress, silent
from ..volumes.neighbours import neighbour_map
from ..volumes.sparse_convolution import submanifold_convolution
from ..volumes.sparse_voxels import SparseVoxels
from ..volumes.subdivide import CHILDREN, channel_to_space, subdivide_coords
from .config import VoxelDecoderConfig

NORM_EPS = 1e-6  # of the blocks' norms; the last one has torch's default of 1e-5
MLP_RATIO = 4
SPLIT_BYTES = 1 << 30  # of all eight children of all voxels; what is larger is computed child by child


@dataclass(frozen=True)
class Decoded:
    """``voxels``, the finest ones with what the decoder says of them, and which ``children`` (N, 8) bool of the voxels
    of every level exist, coarsest first.

    ``logits`` (N, 8) are what a decoder that subdivides says of those children, whether or not it was told them.
    """

    voxels: SparseVoxels
    children: tuple[torch.Tensor, ...]
    logits: tuple[torch.Tensor, ...] = ()


class VoxelDecoder(nn.Module):
    """Sparse convolutions; voxels split between levels, into those children that the decoder or its caller names."""

    def __init__(self, config: VoxelDecoderConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        self.from_latent = nn.Linear(config.latent_channels, channels[0])
        levels: list[nn.Module] = []
        for level, (own, count) in enumerate(zip(channels, config.blocks)):
            blocks: list[nn.Module] = [_Block(own) for _ in range(count)]
            if level + 1 < len(channels):
                blocks.append(_Split(own, channels[level + 1], config.subdivides))
            levels.append(nn.ModuleList(blocks))
        self.blocks = nn.ModuleList(levels)
        self.output_layer = nn.Linear(channels[-1], config.out_channels)

    def forward(
        self,
        latents: SparseVoxels,
        children: Sequence[torch.Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        progress: Progress = silent,
    ) -> Decoded:
        """What ``latents`` (N, latent channels) stand for, in a lattice ``config.factor`` times finer.

        ``children`` are those of a shape's `Decoded`; a texture decoder needs them. The first and last layer compute in
        the type of the latents, all others in ``dtype``. ``progress`` counts blocks. Raises Bundle3DError for latents
        and children of other shapes, and where no voxel is left.
        """
        trunk = self._trunk(latents, children, dtype, progress)
        hidden = trunk.voxels.features.to(latents.features.dtype)
        out = self.output_layer(functional.layer_norm(hidden, hidden.shape[-1:]))
        return replace(trunk, voxels=trunk.voxels.with_features(out))

    def upsample(
        self, latents: SparseVoxels, dtype: torch.dtype = torch.float32, progress: Progress = silent
    ) -> torch.Tensor:
        """(M, 4) int32: where the finest voxels of ``latents`` are, without what they are, which costs most."""
        return self._trunk(latents, None, dtype, progress, features=False).voxels.coords

    def _trunk(
        self,
        latents: SparseVoxels,
        children: Sequence[torch.Tensor] | None,
        dtype: torch.dtype,
        progress: Progress,
        features: bool = True,
    ) -> Decoded:
        """What there is before the last layer.

        Without ``features`` it stops as soon as it knows where the voxels are.
        """
        self._check(latents, children)
        voxels = latents.with_features(self.from_latent(latents.features).to(dtype))
        neighbours = neighbour_map(voxels.coords, voxels.resolution)
        found: list[torch.Tensor] = []
        logits: list[torch.Tensor] = []
        blocks = [block for level in self.blocks.children() for block in level.children()]
        for done, block in enumerate(blocks, start=1):
            if isinstance(block, _Split):
                if block.to_subdiv is not None:
                    logits.append(block.to_subdiv(voxels.features))
                own = logits[-1] > 0 if children is None else children[len(found)].to(voxels.coords.device)
                finer = _split_coords(voxels.coords, own, len(found))
                found.append(own)
                if not features and len(found) == self.splits:
                    voxels = SparseVoxels(finer, finer.new_zeros(len(finer), 0), 2 * voxels.resolution)
                    return Decoded(voxels, tuple(found), tuple(logits))
                beside = neighbour_map(finer, 2 * voxels.resolution)
                split = block(voxels.features, own, neighbours, beside)
                voxels, neighbours = SparseVoxels(finer, split, 2 * voxels.resolution), beside
            else:
                voxels = voxels.with_features(block(voxels.features, neighbours))
            progress(done, len(blocks))
        return Decoded(voxels, tuple(found), tuple(logits))

    @property
    def splits(self) -> int:
        """How many times voxels split."""
        return len(self.config.channels) - 1

    def _check(self, latents: SparseVoxels, children: Sequence[torch.Tensor] | None) -> None:
        if latents.features.shape[1] != self.config.latent_channels or not len(latents.coords):
            raise Bundle3DError(
                f"Expected voxels with {self.config.latent_channels} latent channels, but got "
                f"{tuple(latents.features.shape)}; use the latents of this decoder's stage."
            )
        if children is None and not self.config.subdivides:
            raise Bundle3DError(
                "Expected the subdivision of a shape to decode its texture on, but there is none; decode the shape "
                "first."
            )
        if children is not None and len(children) != self.splits:
            raise Bundle3DError(
                f"Expected the subdivision of a shape in {self.splits} levels, but got {len(children)}; decode shape "
                "and texture with decoders of one family."
            )


def _split_coords(coords: torch.Tensor, children: torch.Tensor, level: int) -> torch.Tensor:
    """(M, 4): the voxels that exist among the children (N, 8) of ``coords`` (N, 4), some of every object."""
    if children.shape[0] != len(coords):
        raise Bundle3DError(
            f"Expected the children of {len(coords)} voxels at level {level}, but got those of {children.shape[0]}; "
            "use the subdivision of the shape with the same voxels."
        )
    finer = subdivide_coords(coords, children)
    if len(finer[:, 0].unique()) < len(coords[:, 0].unique()):
        raise Bundle3DError(
            "Expected a surface in the latents of every shape, but the decoder finds none; sample the shape with "
            "another seed or picture."
        )
    return finer


class _Convolution(nn.Module):
    """A convolution over the occupied ones among a voxel's 27 neighbours."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, 3, 3, 3, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.normal_(self.weight, std=(27 * inputs) ** -0.5)

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        return submanifold_convolution(features, self.weight.to(features), self.bias.to(features), neighbours)


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Convolution(channels, channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(channels, MLP_RATIO * channels), nn.SiLU(), nn.Linear(MLP_RATIO * channels, channels)
        )

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.mlp(self.norm(self.conv(features, neighbours))) + features
        return out


class _Split(nn.Module):
    """Eight voxels of one, of which those exist that the block says or is told."""

    def __init__(self, inputs: int, outputs: int, subdivides: bool) -> None:
        super().__init__()
        self.repeats = outputs // (inputs // CHILDREN)
        self.norm1 = nn.LayerNorm(inputs, eps=NORM_EPS)
        self.conv1 = _Convolution(inputs, CHILDREN * outputs)
        self.norm2 = nn.LayerNorm(outputs, eps=NORM_EPS, elementwise_affine=False)
        self.conv2 = _Convolution(outputs, outputs)
        self.to_subdiv = nn.Linear(inputs, CHILDREN) if subdivides else None

    def forward(
        self, features: torch.Tensor, children: torch.Tensor, neighbours: torch.Tensor, finer_neighbours: torch.Tensor
    ) -> torch.Tensor:
        hidden = self._children(functional.silu(self.norm1(features)), children, neighbours)
        hidden = self.conv2(functional.silu(self.norm2(hidden)), finer_neighbours)
        return hidden + channel_to_space(features, children).repeat_interleave(self.repeats, dim=1)

    def _children(self, hidden: torch.Tensor, children: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """(M, outputs): the first convolution, of those children that exist."""
        weight, bias = self.conv1.weight.to(hidden), self.conv1.bias.to(hidden)
        if len(hidden) * len(bias) * hidden.element_size() <= SPLIT_BYTES:
            return channel_to_space(submanifold_convolution(hidden, weight, bias, neighbours), children)
        found = hidden.new_empty(int(children.sum()), len(bias) // CHILDREN)
        places = (children.flatten().cumsum(0) - 1).unflatten(0, (-1, CHILDREN))
        for child, (own_weight, own_bias) in enumerate(zip(weight.chunk(CHILDREN), bias.chunk(CHILDREN))):
            exists = children[:, child]
            all_ = submanifold_convolution(hidden, own_weight.contiguous(), own_bias.contiguous(), neighbours)
            found[places[exists, child]] = all_[exists]
        return found
