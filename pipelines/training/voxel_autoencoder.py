"""Training Pixal3D's decoders of shape and material, with encoders that only training needs.

Source: specs/pixal3d.md sections 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ..meshes.mesh import Mesh
from ..pixal3d.config import VoxelDecoderConfig
from ..pixal3d.decode import MARGIN
from ..pixal3d.voxel_decoder import Decoded, VoxelDecoder
from ..progress import Progress, silent
from ..volumes.neighbours import neighbour_map
from ..volumes.sparse_convolution import submanifold_convolution
from ..volumes.sparse_voxels import SparseVoxels
from ..volumes.subdivide import CHILDREN
from .loop import LoopOptions, train_to_average
from .placed_objects import placed_object
from .placed_voxels import MATERIAL, MaterialGrid, VoxelTree, batched, material_grid, voxel_tree

RESOLUTION = 128
BATCH = 2
SHAPE_OPTIONS = LoopOptions(steps=1500, learning_rate=5e-3, warmup=50, average=0.99, save_every=20, log_every=20)
TEXTURE_OPTIONS = LoopOptions(steps=300, learning_rate=1e-3, warmup=30, average=0.98, save_every=20, log_every=20)
NOISE = 0.1  # deviation of what is added to latents of a deviation of one, so that nearby ones mean nearly the same
SIZES = (0.5, 2.0)  # of objects over what they fill: of what is larger than the cube, a part is seen
WIDTHS = (64, 32, 16)  # of an encoder, coarsest first
EDGE_WEIGHT, OFFSET_WEIGHT, SPLIT_WEIGHT = 1.0, 4.0, 0.1
MISSING_WEIGHT = 2.0  # a child that is missing tears a hole, one too many shows nothing
GROWTH = 4.0  # from one split to the next, of what a new decoder of materials makes
SMALLEST = 64  # voxels of a part that is worth learning from


class VoxelAutoencoder(nn.Module):
    """``decoder`` and an encoder for it, which sees ``inputs`` features of a voxel.

    ``unit``, for what hardly varies within a coarse voxel: its mean is seen at once, the latents of each voxel have a
    root mean square of one, and a new decoder does the same everywhere.
    """

    def __init__(self, config: VoxelDecoderConfig, inputs: int, unit: bool = False) -> None:
        super().__init__()
        self.decoder = VoxelDecoder(config)
        self.input_layer = nn.Linear(inputs, WIDTHS[-1])
        finer = (*WIDTHS[1:], WIDTHS[-1])
        self.merges = nn.ModuleList(nn.Linear(CHILDREN * fine, own) for own, fine in zip(WIDTHS, finer))
        self.near = nn.ModuleList(_Near(WIDTHS[0]) for _ in range(2))
        self.output_layer = nn.Linear(WIDTHS[0], config.latent_channels)
        self.of_mean = nn.Linear(inputs, config.latent_channels) if unit else None
        if unit:
            _start_pointwise(self.decoder)

    def latents(self, features: torch.Tensor, tree: VoxelTree, resolution: int) -> torch.Tensor:
        """(N, C) of ``features`` (M, inputs) of the finest voxels, in the order of ``tree``."""
        hidden = self.input_layer(features)
        for merge, children in zip(reversed(list(self.merges)), reversed(tree.children)):
            spread = hidden.new_zeros(children.numel(), hidden.shape[1])
            spread[children.reshape(-1)] = functional.silu(hidden)
            hidden = merge(spread.reshape(len(children), -1))
        neighbours = neighbour_map(tree.coords, resolution >> len(tree.children))
        for block in self.near:
            hidden = block(hidden, neighbours)
        latents: torch.Tensor = self.output_layer(hidden)
        if self.of_mean is None:
            return latents
        return functional.rms_norm(latents + self.of_mean(_means(features, tree)), latents.shape[-1:])


@torch.no_grad()
def _start_pointwise(decoder: VoxelDecoder) -> None:
    """Lets a new decoder see each voxel alone and make the same of it for all of its children.

    Otherwise what a latent means differs from one finest voxel to the next, and nothing is found out. What a split
    hands on unchanged does differ: so what it makes is larger, more so with every split.
    """
    decoder.output_layer.weight[3:] = 0.0
    decoder.output_layer.bias[3:] = 2.0 * torch.tensor(MATERIAL) - 1.0  # else all there is serves to say this
    scale = 1.0
    for name, weight in decoder.named_parameters():
        if weight.ndim == 5:
            middle = weight[:, 1, 1, 1] * weight[0, ..., 0].numel() ** 0.5
            if name.endswith("conv1.weight"):
                middle = middle[: len(middle) // CHILDREN].repeat(CHILDREN, 1)
            if name.endswith("conv2.weight"):
                scale *= GROWTH
                middle = middle * scale
            weight.zero_()
            weight[:, 1, 1, 1] = middle


def _owners(tree: VoxelTree) -> torch.Tensor:
    """(M,): which of the coarsest voxels each of the finest lies in."""
    owners = torch.arange(len(tree.coords))
    for children in tree.children:
        owners = owners[children.reshape(-1).nonzero().squeeze(1) // CHILDREN]
    return owners


def _means(features: torch.Tensor, tree: VoxelTree) -> torch.Tensor:
    """(N, C) means over the finest voxels, with ``features`` (M, C), of each coarsest one."""
    owners = _owners(tree)
    sums = features.new_zeros(len(tree.coords), features.shape[1]).index_add(0, owners, features)
    return sums / torch.bincount(owners, minlength=len(tree.coords))[:, None]


class _Near(nn.Module):
    """What is beside a voxel, added to what is in it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Parameter(torch.randn(width, 3, 3, 3, width) * (27 * width) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)

    def forward(self, features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        hidden = submanifold_convolution(self.norm(features), self.weight, self.bias, neighbours)
        out: torch.Tensor = features + self.out(functional.silu(hidden))
        return out


def shape_features(sample: MaterialGrid) -> torch.Tensor:
    """(V, 6): what an encoder of shapes is told of the voxels."""
    return torch.cat((2.0 * sample.grid.offsets - 1.0, 2.0 * sample.grid.edges.float() - 1.0), dim=1)


def material_features(sample: MaterialGrid) -> torch.Tensor:
    """(V, 6): what an encoder of materials is told and their decoder is to say."""
    return 2.0 * sample.material - 1.0


def train_shape_autoencoder(
    model: VoxelAutoencoder,
    objects: int,
    folder: Path,
    options: LoopOptions = SHAPE_OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to give back the dual grids of the first ``objects`` placed objects, at any size.

    Latents are those of `normalised`, in every batch.
    """

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        samples, tree = _batch(objects, seed, generator)
        features = torch.cat([shape_features(sample) for sample in samples])[tree.rows]
        latents = _noisy(normalised(model.latents(features, tree, RESOLUTION)), generator)
        decoded = decoded_as_told(model.decoder, latents, tree)
        return subdivision_loss(decoded.logits, tree) + head_loss(decoded.voxels.features, features)

    train_to_average(model, loss, folder, options, seed, progress)


def train_texture_autoencoder(
    model: VoxelAutoencoder,
    objects: int,
    folder: Path,
    options: LoopOptions = TEXTURE_OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to give back the materials of the first ``objects`` placed objects, at any size.

    Its latents are to be of unit size, not normalised: the mean and deviation of a batch say nothing of all colours.
    An object has few of them, so every other coarse voxel gets one of its own.
    """

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        samples, tree = _batch(objects, seed, generator)
        features = torch.cat([material_features(sample) for sample in samples])[tree.rows]
        features = _recolored(features, tree, generator)
        latents = model.latents(features, tree, RESOLUTION)
        decoded = decoded_as_told(model.decoder, _noisy(latents, generator), tree)
        return (decoded.voxels.features - features).abs().mean()

    train_to_average(model, loss, folder, options, seed, progress)


def decoded_as_told(decoder: VoxelDecoder, latents: torch.Tensor, tree: VoxelTree) -> Decoded:
    """What ``decoder`` says of ``latents`` (N, C) at the coarsest voxels of ``tree``, which tells it their children."""
    decoded: Decoded = decoder(SparseVoxels(tree.coords, latents, RESOLUTION >> len(tree.children)), tree.children)
    return decoded


def subdivision_loss(logits: Sequence[torch.Tensor], tree: VoxelTree) -> torch.Tensor:
    """How wrong a decoder is about which children there are, the sum of all levels: every one of them must be right."""
    missing = torch.tensor(MISSING_WEIGHT)
    losses = [
        functional.binary_cross_entropy_with_logits(said, true.float(), pos_weight=missing)
        for said, true in zip(logits, tree.children)
    ]
    return torch.stack(losses).sum()


def head_loss(heads: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """How far the heads (V, 7) of a shape are from its ``shape_features`` (V, 6); diagonals are split as weights of one
    do.
    """
    offsets = (1 + 2 * MARGIN) * heads[:, :3].sigmoid() - MARGIN
    wrong_offset = (offsets - (features[:, :3] + 1.0) / 2.0).abs().mean()
    wrong_edge = functional.binary_cross_entropy_with_logits(heads[:, 3:6], (features[:, 3:] + 1.0) / 2.0)
    wrong_weight = (functional.softplus(heads[:, 6]) - 1.0).abs().mean()
    return EDGE_WEIGHT * wrong_edge + OFFSET_WEIGHT * wrong_offset + SPLIT_WEIGHT * wrong_weight


def normalised(latents: torch.Tensor) -> torch.Tensor:
    """Latents (N, C) with a mean of zero and a deviation of one in each channel."""
    deviation, mean = torch.std_mean(latents, dim=0)
    return (latents - mean) / deviation


def sized(mesh: Mesh, size: float, centre: torch.Tensor) -> Mesh:
    """``mesh`` ``size`` times as large; where it exceeds the grid, its point ``centre`` (3,) is in the middle."""
    moved = (mesh.vertices - centre) * size if size > 1.0 else mesh.vertices * size
    return mesh.with_(vertices=moved)


def _batch(objects: int, seed: int, generator: torch.Generator) -> tuple[list[MaterialGrid], VoxelTree]:
    samples: list[MaterialGrid] = []
    while len(samples) < BATCH:
        index = int(torch.randint(objects, (1,), generator=generator))
        low, high = SIZES
        size = low * (high / low) ** float(torch.rand(1, generator=generator))
        mesh = placed_object(index, seed).grid_mesh()
        centre = mesh.vertices[int(torch.randint(len(mesh.vertices), (1,), generator=generator))]
        sample = material_grid(sized(mesh, size, centre), RESOLUTION)
        if len(sample.grid.coords) >= SMALLEST:
            samples.append(sample)
    grids = [sample.grid for sample in samples]
    return samples, voxel_tree(batched(grids), RESOLUTION, 3)


def _recolored(features: torch.Tensor, tree: VoxelTree, generator: torch.Generator) -> torch.Tensor:
    """Material features (M, 6) with another base colour in about half of the coarsest voxels."""
    own = 2.0 * torch.rand(len(tree.coords), 3, generator=generator) - 1.0
    chosen, owners = torch.rand(len(tree.coords), 1, generator=generator) < 0.5, _owners(tree)
    color = torch.where(chosen[owners], own[owners], features[:, :3])
    return torch.cat((color, features[:, 3:]), dim=1)


def _noisy(latents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return latents + NOISE * torch.randn(latents.shape, generator=generator)
