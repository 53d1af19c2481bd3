"""Names and shapes of all tensors at full size, without their numbers: as many, and as large, as the published ones.

A safetensors file is its tensors after a header that spells their names, types and shapes, so that the size of a file
to the byte tells a wrong name. Sources: specs/pixal3d.md section 0.1; pipelines/checkpoints/registry.json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from bundle3d.pipelines.pixal3d.config import (
    FlowConfig,
    StructureDecoderConfig,
    VoxelDecoderConfig,
    flow_config,
    structure_decoder_config,
    voxel_decoder_config,
)
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from bundle3d.pipelines.pixal3d.flow_transformer import FlowTransformer
from bundle3d.pipelines.pixal3d.image_encoder import ImageEncoderConfig, image_encoder
from bundle3d.pipelines.pixal3d.structure_decoder import StructureDecoder
from bundle3d.pipelines.pixal3d.voxel_decoder import VoxelDecoder
from torch import nn

Table = dict[str, tuple[str, tuple[int, ...]]]

SHAPE_FLOW = FlowConfig(resolution=32, in_channels=32, out_channels=32, projected_width=2048)
TEXTURE_FLOW = FlowConfig(resolution=64, in_channels=64, out_channels=32, projected_width=2048)
TEXTURE_DECODER = VoxelDecoderConfig(out_channels=6, subdivides=False)
BYTES = {"C64": 8, "F32": 4, "BF16": 2, "F16": 2}
ORDER = ("C64", "F32", "BF16", "F16")  # of the types in a file that safetensors wrote


def table(network: nn.Module, dtype: str, prefix: str = "") -> Table:
    return {prefix + name: (dtype, tuple(tensor.shape)) for name, tensor in network.state_dict().items()}


def file_bytes(tensors: Table) -> int:
    """Size of the safetensors file that holds these tensors and no metadata."""
    header, end = {}, 0
    for name in sorted(tensors, key=lambda name: (ORDER.index(tensors[name][0]), name)):
        dtype, shape = tensors[name]
        begin, end = end, end + BYTES[dtype] * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = len(json.dumps(header, separators=(",", ":")))
    return 8 + math.ceil(text / 8) * 8 + end


def structure_decoder_table(network: nn.Module) -> Table:
    """Convolutions between first and last layer are float16, all else is float32."""
    wide = ("input_layer.", "out_layer.")
    return {
        name: ("F32" if name.startswith(wide) or ".norm" in name else "F16", tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }


def meta(network: Callable[[Any], nn.Module], config: object) -> nn.Module:
    with torch.device("meta"):
        return network(config)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("config", "count", "size"),
    [
        (FlowConfig(), 1_339_411_976, 5_359_822_584),
        (SHAPE_FLOW, 1_386_671_648, 5_546_764_048),
        (TEXTURE_FLOW, 1_386_720_800, 5_546_960_656),
    ],
    ids=["structure", "shape", "texture"],
)
def test_flows_are_as_published(config: FlowConfig, count: int, size: int) -> None:
    network = meta(FlowTransformer, config)
    tensors = table(network, "F32")
    assert parameters(network) == count and len(tensors) == 700
    assert flow_config({name: shape for name, (_, shape) in tensors.items()}, config.resolution) == config
    if config == FlowConfig():
        tensors["rope_phases"] = ("C64", (config.resolution**3, 64))
    assert file_bytes(tensors) == size


def test_the_structure_decoder_is_as_published() -> None:
    network = meta(StructureDecoder, StructureDecoderConfig())
    tensors = structure_decoder_table(network)
    assert parameters(network) == 73_671_201 and len(tensors) == 74
    assert structure_decoder_config({name: shape for name, (_, shape) in tensors.items()}) == StructureDecoderConfig()
    assert file_bytes(tensors) == 147_591_972


@pytest.mark.parametrize(
    ("config", "count", "tensors", "size"),
    [
        (VoxelDecoderConfig(), 474_231_463, 292, 948_490_494),
        (TEXTURE_DECODER, 474_216_006, 284, 948_458_812),
    ],
    ids=["shape", "texture"],
)
def test_sparse_decoders_are_as_published(config: VoxelDecoderConfig, count: int, tensors: int, size: int) -> None:
    network = meta(VoxelDecoder, config)
    found = table(network, "F16")
    assert parameters(network) == count and len(found) == tensors
    assert voxel_decoder_config({name: shape for name, (_, shape) in found.items()}) == config
    assert file_bytes(found) == size


def test_decoders_are_as_comfyui_packs_them() -> None:
    structure = table(meta(StructureDecoder, StructureDecoderConfig()), "BF16", "struct_dec.")
    shape = table(meta(VoxelDecoder, VoxelDecoderConfig()), "BF16", "shape_dec.")
    texture = table(meta(VoxelDecoder, TEXTURE_DECODER), "BF16", "txt_dec.")
    assert file_bytes(structure | shape) == 1_095_844_024
    assert file_bytes(texture) == 948_461_364


def test_what_sees_pictures_is_as_comfyui_packs_it() -> None:
    encoder = table(meta(image_encoder, ImageEncoderConfig()), "F32")
    tensors = {name.replace("model.layer.", "layer."): entry for name, entry in encoder.items()}
    tensors |= {f"norm.{name}": ("F32", (1024,)) for name in ("weight", "bias")}  # which Pixal3D does without
    tensors |= table(meta(FeatureUpsampler, UpsamplerConfig()), "F32", "naf.")
    assert len(tensors) == 452 and file_bytes(tensors) == 1_215_214_176
