"""The networks of the small Pixal3D family, new, and its files as users have the published ones.

There is no flow for fine shapes: the published way to their lattice (section 1.1, step 6) misses a fifth to a half of
the surface's cells of one as small as theirs would be. Shapes and textures have one resolution.

Source: specs/pixal3d.md sections 0.1, 0.2, 3.6 and 8.1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..pixal3d.config import FlowConfig, StructureDecoderConfig, VoxelDecoderConfig
from ..pixal3d.feature_upsampler import UpsamplerConfig
from ..pixal3d.image_encoder import ImageEncoderConfig
from ..pixal3d.models import Sight
from ..pixal3d.normalisation import Normalisation
from ..pixal3d.sampler import SHAPE, STRUCTURE, TEXTURE, Sampling
from ..pixal3d.settings import DECODERS, FLOWS, SAMPLERS, SEVERAL, SINGLE
from .whole_file import whole_file

PICTURE_SIZE = 128
LATENTS = 8
SEEN = 96  # channels of a picture's features
ENCODER = ImageEncoderConfig(patch_size=8, width=SEEN, hidden=2 * SEEN, layers=4, heads=1)
UPSAMPLER = UpsamplerConfig(width=16, blocks=1, periods=4)
SIGHTS = {
    "structure": Sight(PICTURE_SIZE, None),
    "shape": Sight(PICTURE_SIZE, PICTURE_SIZE),
    "texture": Sight(PICTURE_SIZE, PICTURE_SIZE),
}  # as the published ones but for the size: it is one for all
STRUCTURE_FLOW = FlowConfig(
    resolution=8, in_channels=LATENTS, out_channels=LATENTS, width=96, hidden=256, blocks=4, heads=3,
    condition_width=SEEN, projected_width=SEEN,
)  # fmt: skip
SHAPE_FLOW = FlowConfig(
    resolution=16, in_channels=LATENTS, out_channels=LATENTS, width=96, hidden=192, blocks=4, heads=3,
    condition_width=SEEN, projected_width=2 * SEEN,
)  # fmt: skip
TEXTURE_FLOW = replace(SHAPE_FLOW, in_channels=2 * LATENTS, width=64, hidden=128, blocks=2, heads=2)
STRUCTURE_DECODER = StructureDecoderConfig(latent_channels=LATENTS, channels=(32, 16, 8), blocks=1, middle_blocks=1)
SHAPE_DECODER = VoxelDecoderConfig(latent_channels=LATENTS, channels=(64, 32, 32, 16), blocks=(2, 2, 2, 0))
TEXTURE_DECODER = VoxelDecoderConfig(
    latent_channels=LATENTS, out_channels=6, channels=(16, 16, 16, 8), blocks=(1, 0, 0, 0), subdivides=False
)
SAMPLINGS = {
    "structure": replace(STRUCTURE, guidance=2.0, rescale=0.0),
    "shape": replace(SHAPE, guidance=3.0),
    "texture": TEXTURE,
}
STEMS = {
    FLOWS["structure"]: "ckpts/ss_flow",
    FLOWS["shape"]: "ckpts/slat_flow_img2shape_128",
    FLOWS["texture"]: "ckpts/slat_flow_imgshape2tex",
    DECODERS["structure"]: "ckpts/ss_dec",
    DECODERS["shape"]: "ckpts/shape_dec",
    DECODERS["texture"]: "ckpts/tex_dec",
}
CLASSES = {
    FLOWS["structure"]: "SparseStructureFlowModel",
    **dict.fromkeys((FLOWS["shape"], FLOWS["texture"]), "SLatFlowModel"),
    DECODERS["structure"]: "SparseStructureDecoder",
    DECODERS["shape"]: "FlexiDualGridVaeDecoder",
    DECODERS["texture"]: "SparseUnetVaeDecoder",
}
PICTURE_FILE = "dinov3_naf.safetensors"
UPSAMPLER_PREFIX = "naf."


@dataclass(frozen=True)
class Pixal3DFamily:
    """All networks, trained, and the normalisation of the latents."""

    encoder: nn.Module
    upsampler: nn.Module
    structure: nn.Module
    shape: nn.Module
    texture: nn.Module
    structure_decoder: nn.Module
    shape_decoder: nn.Module
    texture_decoder: nn.Module
    shape_normalisation: Normalisation
    texture_normalisation: Normalisation

    def networks(self) -> dict[str, nn.Module]:
        """Flows and decoders by their names in pipeline.json."""
        flows: dict[str, nn.Module] = {FLOWS[stage]: getattr(self, stage) for stage in SAMPLINGS}
        return flows | {DECODERS[part]: getattr(self, f"{part}_decoder") for part in DECODERS}


def save_family(folder: Path, family: Pixal3DFamily) -> None:
    """Writes the published layout: settings for one view and for several, which share the flows, and for each network
    its tensors in half precision and a JSON file; what sees pictures is one file, as ComfyUI's.
    """
    for name, network in family.networks().items():
        stem = folder / STEMS[name]
        _write_tensors(stem.with_suffix(".safetensors"), network.state_dict())
        _write_json(stem.with_suffix(".json"), {"name": CLASSES[name], "args": _arguments(network)})
    upsampler = {UPSAMPLER_PREFIX + name: tensor for name, tensor in family.upsampler.state_dict().items()}
    _write_tensors(folder / PICTURE_FILE, family.encoder.state_dict() | upsampler)
    settings = {
        "models": STEMS,
        "default_pipeline_type": f"{SHAPE_DECODER.factor * SHAPE_FLOW.resolution}",
        **{SAMPLERS[stage]: _sampler(sampling) for stage, sampling in SAMPLINGS.items()},
        "shape_slat_normalization": vars(family.shape_normalisation),
        "tex_slat_normalization": vars(family.texture_normalisation),
        "image_conditions": {stage: vars(sight) for stage, sight in SIGHTS.items()},
    }
    for file in (SINGLE, SEVERAL):
        _write_json(folder / file, {"name": "Pixal3DImageTo3DPipeline", "args": settings})


def _sampler(sampling: Sampling) -> dict[str, Any]:
    return {
        "name": "FlowEulerGuidanceIntervalSampler",
        "args": {"sigma_min": sampling.sigma_min},
        "params": {
            "steps": sampling.steps,
            "guidance_strength": sampling.guidance,
            "guidance_rescale": sampling.rescale,
            "guidance_interval": list(sampling.interval),
            "rescale_t": sampling.shift,
        },
    }


def _arguments(network: nn.Module) -> dict[str, Any]:
    """What a published JSON file says of a network, by its names."""
    config: Any = network.config
    if isinstance(config, FlowConfig):
        return {
            "resolution": config.resolution, "in_channels": config.in_channels, "out_channels": config.out_channels,
            "model_channels": config.width, "cond_channels": config.condition_width, "num_blocks": config.blocks,
            "num_heads": config.heads, "mlp_ratio": config.hidden / config.width, "pe_mode": "rope",
            "share_mod": True, "qk_rms_norm": True, "qk_rms_norm_cross": True, "image_attn_mode": "proj",
            "proj_in_channels": config.projected_width,
        }  # fmt: skip
    if isinstance(config, StructureDecoderConfig):
        return {
            "out_channels": config.out_channels, "latent_channels": config.latent_channels,
            "num_res_blocks": config.blocks, "num_res_blocks_middle": config.middle_blocks,
            "channels": list(config.channels), "norm_type": "layer",
        }  # fmt: skip
    assert isinstance(config, VoxelDecoderConfig)
    return {
        "model_channels": list(config.channels), "latent_channels": config.latent_channels,
        "num_blocks": list(config.blocks), "out_channels": config.out_channels, "pred_subdiv": config.subdivides,
    }  # fmt: skip


def _write_tensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    with whole_file(path) as unfinished:
        save_file(half, unfinished)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
