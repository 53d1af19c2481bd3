"""Small networks of Pixal3D-D with random weights that anyone can make again, and voxels and pictures for them."""

from __future__ import annotations

from dataclasses import replace

import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.pixal3d.config import StructureDecoderConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig, SdfDecoderConfig, SparseFlowConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.dense_flow import DenseFlow
from bundle3d.pipelines.pixal3d.direct3d_s2.image_encoder import ImageEncoderConfig, image_encoder
from bundle3d.pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels, StageModel
from bundle3d.pipelines.pixal3d.direct3d_s2.sampling import TwiceShiftedSampling
from bundle3d.pipelines.pixal3d.direct3d_s2.sdf_decoder import SdfDecoder
from bundle3d.pipelines.pixal3d.direct3d_s2.sparse_flow import SparseFlow
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler
from bundle3d.pipelines.pixal3d.flow_transformer import Condition
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.tests.pixal3d.make_small import UPSAMPLER, randomised

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
SDF_DECODER = SdfDecoderConfig(resolution=16, channels=6, width=32, hidden=48, blocks=2, heads=4)
# 9 patches a side, as many as NAF looks at around a pixel.
ENCODER = ImageEncoderConfig(size=36, patch_size=4, width=WIDTH, layers=1, heads=1, registers=4)


def small_dense_flow(config: DenseFlowConfig = DENSE) -> DenseFlow:
    return randomised(DenseFlow(config), 10)


def small_sparse_flow(config: SparseFlowConfig = SPARSE) -> SparseFlow:
    return randomised(SparseFlow(config), 11)


def small_sdf_decoder(config: SdfDecoderConfig = SDF_DECODER) -> SdfDecoder:
    return randomised(SdfDecoder(config), 15)


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


def few_steps(shift: float = 6.0) -> TwiceShiftedSampling:
    return TwiceShiftedSampling(2, 7.0, rescale=0.0, interval=(0.0, 1.0), shift=shift)


def small_models(**parts: object) -> Pixal3DDModels:
    """All components at random, with ``parts`` in place of some; structures of 2^3 become shapes of 32 and 64."""
    structure = randomised(StructureDecoder(StructureDecoderConfig(channels=(8, 4), blocks=1, middle_blocks=1)), 1)
    known = {
        "encoder": small_encoder(),
        "upsampler": Resident(randomised(FeatureUpsampler(UPSAMPLER), 8)),
        "structure": StageModel(
            Resident(small_dense_flow(replace(DENSE, resolution=2))), Resident(structure), few_steps()
        ),
        "coarse": _sparse_stage(4, 6.0, True),
        "fine": _sparse_stage(8, 8.0, False),
    }
    return Pixal3DDModels(**(known | parts))  # type: ignore[arg-type]


def _sparse_stage(resolution: int, shift: float, upsampled: bool) -> StageModel:
    flow = small_sparse_flow(replace(SPARSE, resolution=resolution))
    decoder = small_sdf_decoder(replace(SDF_DECODER, resolution=resolution))
    return StageModel(Resident(flow), Resident(decoder), few_steps(shift), upsampled)
