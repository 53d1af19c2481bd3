"""Small networks of Pixal3D with random weights that anyone can make again, and voxels for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.pixal3d.conditioning import Pictures, SeenPictures
from bundle3d.pipelines.pixal3d.config import FlowConfig, StructureDecoderConfig, VoxelDecoderConfig
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from bundle3d.pipelines.pixal3d.flow_transformer import Condition, FlowTransformer
from bundle3d.pipelines.pixal3d.image_encoder import ImageEncoderConfig, image_encoder
from bundle3d.pipelines.pixal3d.models import PictureModels, Pixal3DModels, Sight, StageModel
from bundle3d.pipelines.pixal3d.normalisation import Normalisation
from bundle3d.pipelines.pixal3d.sampler import SHAPE as SHAPE_SAMPLING
from bundle3d.pipelines.pixal3d.sampler import STRUCTURE as STRUCTURE_SAMPLING
from bundle3d.pipelines.pixal3d.sampler import TEXTURE as TEXTURE_SAMPLING
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.pipelines.pixal3d.voxel_decoder import VoxelDecoder
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.volumes.projection import front_camera, rig_cameras
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from torch import nn

Module = TypeVar("Module", bound=nn.Module)

STRUCTURE = FlowConfig(
    resolution=4, in_channels=8, out_channels=8, width=48, hidden=80, blocks=2, heads=3, condition_width=32,
    projected_width=32,
)  # fmt: skip
SHAPE = FlowConfig(
    resolution=8, in_channels=6, out_channels=6, width=48, hidden=80, blocks=2, heads=3, condition_width=32,
    projected_width=64,
)  # fmt: skip
TEXTURE = FlowConfig(
    resolution=16, in_channels=12, out_channels=6, width=48, hidden=80, blocks=2, heads=3, condition_width=32,
    projected_width=64,
)  # fmt: skip
STRUCTURE_DECODER = StructureDecoderConfig(channels=(16, 8, 4), blocks=1, middle_blocks=1)
SHAPE_DECODER = VoxelDecoderConfig(latent_channels=6, channels=(32, 16, 8), blocks=(1, 1, 0))
TEXTURE_DECODER = VoxelDecoderConfig(
    latent_channels=6, out_channels=6, channels=(32, 16, 8), blocks=(1, 1, 0), subdivides=False
)

ENCODER = ImageEncoderConfig(patch_size=4, width=32, hidden=48, layers=1, heads=2, registers=4)
UPSAMPLER = UpsamplerConfig(width=16, blocks=1, periods=4)
SIGHTS = {"structure": Sight(32), "shape": Sight(32, 32), "fine_shape": Sight(64, 32), "texture": Sight(64, 64)}


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


def small_models(**parts: object) -> Pixal3DModels:
    """All components at random, with ``parts`` in place of some; a shape of 32 coarse and 64 fine voxels a side."""
    flows = {"structure": (STRUCTURE, STRUCTURE_SAMPLING), "shape": (SHAPE, SHAPE_SAMPLING),
             "fine_shape": (replace(SHAPE, resolution=16), SHAPE_SAMPLING),
             "texture": (TEXTURE, TEXTURE_SAMPLING)}  # fmt: skip
    stages = {
        name: StageModel(Resident(small_flow(config, seed)), sampling, SIGHTS[name])
        for seed, (name, (config, sampling)) in enumerate(flows.items())
    }
    known = {
        "pictures": PictureModels(
            Resident(randomised(image_encoder(ENCODER), 7)), Resident(randomised(FeatureUpsampler(UPSAMPLER), 8))
        ),
        "structure_decoder": Resident(small_structure_decoder()),
        "shape_decoder": Resident(small_decoder()),
        "texture_decoder": Resident(small_decoder(TEXTURE_DECODER)),
        "shape_normalisation": Normalisation((0.5,) * 6, (2.0,) * 6),
        "texture_normalisation": Normalisation((-0.5,) * 6, (3.0,) * 6),
    }
    return Pixal3DModels(**(stages | known | parts))  # type: ignore[arg-type]


def disc(views: int = 1, size: int = 40, seed: int = 9) -> Pictures:
    """Pictures of a disc of noise on black, from the front and, where there are four, from all sides."""
    side = torch.linspace(-1, 1, size)
    inside = (side[:, None] ** 2 + side**2 < 0.8).float()[None, :, :, None]
    noise = torch.rand(views, size, size, 3, generator=torch.Generator().manual_seed(seed))
    cameras = (front_camera(),) if views == 1 else rig_cameras(named_rig("kiss3dgen"))[:views]
    return Pictures(noise * inside, cameras)


def seen(models: Pixal3DModels, *pictures: Pictures) -> list[SeenPictures]:
    return [SeenPictures(models.pictures, one) for one in pictures]
