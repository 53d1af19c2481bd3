"""What stages announce to the memory manager against what their networks take at the published sizes."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.checkpoints.registry import REGISTRY
from bundle3d.pipelines.pixal3d.config import FlowConfig, StructureDecoderConfig, VoxelDecoderConfig
from bundle3d.pipelines.pixal3d.decode import decoder_bytes, structure_bytes
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig, activation_bytes
from bundle3d.pipelines.pixal3d.sample import activation_bytes as flow_bytes
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.tests.support.live_bytes import LiveBytes


def test_bytes_are_counted_while_their_tensors_live() -> None:
    kept = torch.zeros(1000)
    with LiveBytes([kept]) as live:
        first = torch.zeros(256)  # 1024 bytes
        second = first + 1.0
        del first
        third = second.view(16, 16) * 2.0
        del second, third
        kept.add_(1.0)
    assert live.now == 0 and live.peak == 2 * 1024


@pytest.mark.parametrize(("picture", "size"), [(512, 512), (1024, 512), (1024, 1024)])
def test_queries_of_a_picture_take_what_is_announced(picture: int, size: int) -> None:
    with torch.device("meta"):
        network = FeatureUpsampler(UpsamplerConfig())
        image, patches = torch.empty(3, picture, picture), torch.empty(1024, picture // 16, picture // 16)
    with torch.no_grad(), LiveBytes([*network.state_dict().values(), image, patches]) as live:
        network(image, patches, size)
    announced = activation_bytes(network.config, picture, size, torch.float32)
    assert live.peak < announced < 1.3 * live.peak


def test_a_structure_takes_what_is_announced() -> None:
    with torch.device("meta"):
        network = StructureDecoder(StructureDecoderConfig())
        latents = torch.empty(1, 8, 16, 16, 16)
    with torch.no_grad(), LiveBytes([*network.state_dict().values(), latents]) as live:
        network(latents)
    announced = structure_bytes(network.config, 16, torch.float32)
    assert live.peak < announced < 4.0 * live.peak


@pytest.mark.parametrize(("dtype", "gpu"), [(torch.bfloat16, True), (torch.float32, False)])
def test_plans_count_on_what_stages_announce_of_a_large_object(dtype: torch.dtype, gpu: bool) -> None:
    """25,000 voxels in the fine stages, which is near the most that 1024 gives."""
    announced = {
        "see the pictures": activation_bytes(UpsamplerConfig(), 1024, 1024, dtype),
        "draw structure, shape and texture": flow_bytes(FlowConfig(projected_width=2048), 25_000, dtype),
        "decode the shape": decoder_bytes(VoxelDecoderConfig(), 25_000, dtype),
        "decode the texture": decoder_bytes(VoxelDecoderConfig(), 25_000, dtype),
    }
    phases = {phase.name: phase for phase in REGISTRY.stage("pixal3d").phases}
    assert phases.keys() == announced.keys()
    for name, needed in announced.items():
        assert needed <= phases[name].working(gpu) <= 1.3 * needed, name
