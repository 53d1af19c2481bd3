"""Small networks of Pixal3D with random weights that anyone can make again, and voxels for them."""

from __future__ import annotations

from typing import TypeVar

import torch
from bundle3d.pipelines.pixal3d.config import FlowConfig, StructureDecoderConfig, VoxelDecoderConfig
from bundle3d.pipelines.pixal3d.flow_transformer import Condition, FlowTransformer
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.pipelines.pixal3d.voxel_decoder import VoxelDecoder
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from torch import nn

Module = TypeVar("Module", bound=nn.Module)

STRUCTURE = FlowConfig(
    resolution=4, in_channels=8, out_channels=8, width=48, hidden=80, blocks=2, heads=3, condition_width=20,
    projected_width=20,
)  # fmt: skip
SHAPE = FlowConfig(
    resolution=8, in_channels=6, out_channels=6, width=48, hidden=80, blocks=2, heads=3, condition_width=20,
    projected_width=40,
)  # fmt: skip
TEXTURE = FlowConfig(
    resolution=16, in_channels=12, out_channels=6, width=48, hidden=80, blocks=2, heads=3, condition_width=20,
    projected_width=40,
)  # fmt: skip
STRUCTURE_DECODER = StructureDecoderConfig(channels=(16, 8, 4), blocks=1, middle_blocks=1)
SHAPE_DECODER = VoxelDecoderConfig(latent_channels=6, channels=(32, 16, 8), blocks=(1, 1, 0))
TEXTURE_DECODER = VoxelDecoderConfig(
    latent_channels=6, out_channels=6, channels=(32, 16, 8), blocks=(1, 1, 0), subdivides=False
)


def randomised(module: Module, seed: int = 0) -> Module:
    """``module`` with other numbers in all of its tensors, of the size that keeps activations near one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 4
        around = 1.0 if ("norm" in name and name.endswith("weight")) or name.endswith("gamma") else 0.0
        parameter.data = around + torch.randn(parameter.shape, generator=generator) / max(fan, 1) ** 0.5
    return module.eval().requires_grad_(False)


def small_flow(config: FlowConfig = SHAPE, seed: int = 0) -> FlowTransformer:
    return randomised(FlowTransformer(config), seed)


def small_structure_decoder(seed: int = 1) -> StructureDecoder:
    return randomised(StructureDecoder(STRUCTURE_DECODER), seed)


def small_decoder(config: VoxelDecoderConfig = SHAPE_DECODER, seed: int = 2) -> VoxelDecoder:
    return randomised(VoxelDecoder(config), seed)


def random_voxels(counts: list[int], channels: int, resolution: int, seed: int = 3) -> SparseVoxels:
    """As many voxels of each object of a batch, at random places in random order, with normal features."""
    generator = torch.Generator().manual_seed(seed)
    coords = []
    for item, count in enumerate(counts):
        places = torch.randperm(resolution**3, generator=generator)[:count]
        columns = (torch.full_like(places, item), places // resolution**2, places // resolution % resolution)
        coords.append(torch.stack((*columns, places % resolution), dim=1).int())
    features = torch.randn(sum(counts), channels, generator=generator)
    return SparseVoxels(torch.cat(coords), features, resolution)


def random_condition(voxels: SparseVoxels, config: FlowConfig, seed: int = 4) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    objects = len(voxels.lengths())
    return Condition(
        torch.randn(objects, 5, config.condition_width, generator=generator),
        torch.randn(len(voxels.coords), config.projected_width, generator=generator),
    )


def relative_error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest difference as a share of the largest true value."""
    return float((found.double() - truth).abs().max() / truth.abs().max())
