"""Small networks of Pixal3D-D with random weights that anyone can make again, and voxels and pictures for them."""

from __future__ import annotations

from dataclasses import replace

import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig, SdfDecoderConfig, SparseFlowConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.dense_flow import DenseFlow
from bundle3d.pipelines.pixal3d.direct3d_s2.image_encoder import ImageEncoderConfig, image_encoder
from bundle3d.pipelines.pixal3d.direct3d_s2.sdf_decoder import SdfDecoder
from bundle3d.pipelines.pixal3d.direct3d_s2.sparse_flow import SparseFlow
from bundle3d.pipelines.pixal3d.flow_transformer import Condition
from bundle3d.tests.pixal3d.make_small import randomised

WIDTH = 64
DENSE = DenseFlowConfig(
    resolution=4, channels=8, width=WIDTH, hidden=80, blocks=2, heads=4, condition_width=WIDTH, norms=True
)
SPARSE = SparseFlowConfig(
    resolution=16, channels=6, width=WIDTH, hidden=80, blocks=2, heads=4, condition_width=WIDTH, key_heads=2,
    compression=2, selection=4, most_selected=3, window=4,
)  # fmt: skip
# As the first release of Direct3D-S2 has it: cubes of keys as large as the selected ones, and no convolutions.
SPARSE_V1 = replace(
    SPARSE, compression=4, convolves=False, projects=False, shifted=False, position_scale=0.5, cross_norms=True
)
SDF_DECODER = SdfDecoderConfig(resolution=16, channels=6, width=32, hidden=48, blocks=2, heads=4, window=4)
# 9 patches a side, as many as NAF looks at around a pixel.
ENCODER = ImageEncoderConfig(size=36, patch_size=4, width=WIDTH, layers=1, heads=1, registers=4)


def small_dense_flow(config: DenseFlowConfig = DENSE) -> DenseFlow:
    return randomised(DenseFlow(config), 10)


def small_sparse_flow(config: SparseFlowConfig = SPARSE) -> SparseFlow:
    return randomised(SparseFlow(config), 11)


def small_sdf_decoder() -> SdfDecoder:
    return randomised(SdfDecoder(SDF_DECODER), 15)


def small_encoder() -> Resident:
    return Resident(randomised(image_encoder(ENCODER), 16))


def random_places(count: int, resolution: int, seed: int = 12) -> torch.Tensor:
    """(count, 3) int32 voxels, each once, in random order."""
    chosen = torch.randperm(resolution**3, generator=torch.Generator().manual_seed(seed))[:count]
    return torch.stack((chosen // resolution**2, chosen // resolution % resolution, chosen % resolution), dim=1).int()


def random_features(count: int, channels: int, seed: int = 13) -> torch.Tensor:
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


def random_condition(count: int, width: int = WIDTH, seed: int = 14) -> Condition:
    generator = torch.Generator().manual_seed(seed)
    return Condition(torch.randn(1, 5, width, generator=generator), torch.randn(count, width, generator=generator))
