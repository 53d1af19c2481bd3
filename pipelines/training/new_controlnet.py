"""A FLUX ControlNet that starts as a copy of the base's first blocks and adds nothing. Source: specs/kiss3dgen.md 3.6.

Zhang et al. 2023, Adding Conditional Control: what leads in and out is zero, so that training starts from the base.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxControlNetModel
from safetensors.torch import save_file
from torch import nn

from ..diffusion.loading.casting import CastingLayer
from ..diffusion.loading.controlnet import MODES_NOTE
from ..errors import Bundle3DError
from .masters import with_masters
from .small_files import WEIGHTS
from .whole_file import whole_file

SHARE = 4  # the published network has a quarter of FLUX's blocks, rounded up: 5 of 19 and 10 of 38
SHARED = (
    "patch_size", "in_channels", "attention_head_dim", "num_attention_heads", "joint_attention_dim",
    "pooled_projection_dim", "guidance_embeds", "axes_dims_rope",
)  # fmt: skip


def new_controlnet(
    transformer: Any,
    modes: int | None,
    dtype: torch.dtype,
    double_blocks: int | None = None,
    single_blocks: int | None = None,
    seed: int = 0,
) -> Any:
    """A trainable FluxControlNetModel for a FluxTransformer2DModel, with so many union modes, or for one use.

    Its weights are float32 and it computes in ``dtype``. It has as many of the base's first blocks as asked for, or a
    quarter of them, as the published one.
    Raises Bundle3DError for more blocks than the base has.
    """
    network = empty_controlnet(transformer, modes, double_blocks, single_blocks)
    generator = torch.Generator().manual_seed(seed)
    base = _weights(transformer)
    state: dict[str, torch.Tensor] = {}
    for name, weight in network.state_dict().items():
        if name.startswith("controlnet_mode_embedder"):
            state[name] = torch.randn(weight.shape, generator=generator)
        elif name.startswith("controlnet_"):
            state[name] = torch.zeros(weight.shape)
        else:
            state[name] = base[name].to("cpu", torch.float32, copy=True)
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(True)
    return with_masters(network, dtype)


def empty_controlnet(
    transformer: Any, modes: int | None, double_blocks: int | None = None, single_blocks: int | None = None
) -> Any:
    """The network of ``new_controlnet`` with the shapes of its weights, but neither numbers nor memory."""
    config = transformer.config
    double = _blocks("double", double_blocks, config.num_layers)
    single = _blocks("single", single_blocks, config.num_single_layers)
    if not double + single:
        raise Bundle3DError("Expected a ControlNet with blocks, but both numbers are 0; set at least one.")
    settings = {name: config[name] for name in SHARED}
    settings |= {"num_layers": double, "num_single_layers": single, "num_mode": modes}
    with torch.device("meta"):
        return FluxControlNetModel.from_config(settings)


def save_controlnet(network: Any, folder: Path, dtype: torch.dtype, modes: Mapping[str, int] | None) -> None:
    """Writes a folder of diffusers, its weights in ``dtype``, named as the published union network's.

    ``modes`` are the ids of its uses; they are noted in the metadata of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.save_config(folder)
    state = {name: weight.detach().to("cpu", dtype).contiguous() for name, weight in network.state_dict().items()}
    metadata = {"format": "pt"} if modes is None else {"format": "pt", MODES_NOTE: json.dumps(dict(modes))}
    with whole_file(folder / WEIGHTS) as unfinished:
        save_file(state, str(unfinished), metadata=metadata)


def _blocks(kind: str, wanted: int | None, there: int) -> int:
    count = -(-there // SHARE) if wanted is None else wanted
    if not 0 <= count <= there:
        raise Bundle3DError(
            f"Expected at most the {there} {kind} blocks of the base for the ControlNet, but got {count}; lower it."
        )
    return count


def _weights(transformer: nn.Module) -> dict[str, torch.Tensor]:
    """The base's weights without LoRAs that are on it, those of scaled fp8 files multiplied out."""
    state = {name.replace(".base_layer.", "."): weight for name, weight in transformer.state_dict().items()}
    for name, layer in transformer.named_modules():
        if isinstance(layer, CastingLayer) and layer.weight_scale is not None:
            state[f"{name.removesuffix('.base_layer')}.weight"] = layer.weight.float() * layer.weight_scale.float()
    return state
