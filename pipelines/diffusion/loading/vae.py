"""FLUX's VAE from a single file or a folder of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import Bundle3DError
from .assemble import fill, without_memory
from .configurations import FLUX_VAE
from .source import read_component, wrong_kind
from .transformer import count_blocks

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

PREFIXES = ("vae.", "first_stage_model.")
WHAT = "a FLUX VAE"
ADVICE = "choose FLUX's VAE, such as ae.safetensors in ComfyUI's folder vae"
# The original's names, and diffusers'; in the decoder the original counts its levels from the finest.
MIDDLE = (
    (r"mid\.block_1\.", "mid_block.resnets.0."),
    (r"mid\.block_2\.", "mid_block.resnets.1."),
    (r"mid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"mid\.attn_1\.q\.", "mid_block.attentions.0.to_q."),
    (r"mid\.attn_1\.k\.", "mid_block.attentions.0.to_k."),
    (r"mid\.attn_1\.v\.", "mid_block.attentions.0.to_v."),
    (r"mid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"\.norm_out\.", ".conv_norm_out."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
)


def load_vae(path: Path, dtype: torch.dtype | None = None) -> AutoencoderKL:
    """FLUX's VAE from a file in Black Forest Labs' names or diffusers', an all-in-one checkpoint or a folder.

    It is stored and computes in ``dtype``, or in the file's type (bfloat16 where that is fp8).
    Raises Bundle3DError where the file holds no whole VAE of 16 channels.
    """
    from diffusers import AutoencoderKL

    path = Path(path)
    settings, state, file = read_component(path, ("AutoencoderKL",), PREFIXES)
    if settings is None:
        state = to_diffusers(state)
        if not {"encoder.conv_in.weight", "decoder.conv_in.weight"} <= state.keys():
            raise wrong_kind(path, WHAT, ADVICE)
    model = without_memory(lambda: AutoencoderKL.from_config(settings or vae_config(state)), file, WHAT)
    if settings is None:
        _refuse_other_vaes(path, model.config)
    return fill(model, state, file, WHAT, dtype, casting=False)


def _refuse_other_vaes(path: Path, config: Mapping[str, Any]) -> None:
    channels, ours = config["latent_channels"], FLUX_VAE["latent_channels"]
    if channels != ours:
        raise Bundle3DError(
            f"Expected a VAE of {ours} channels, but that in '{path.name}' has {channels}, which FLUX does not "
            f"read; {ADVICE}."
        )


def vae_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a VAE like FLUX's, from the names and shapes of its tensors under diffusers' names."""
    levels = count_blocks((name.removeprefix("encoder.") for name in state), "down_blocks")
    resnets = count_blocks((name.removeprefix("encoder.down_blocks.0.") for name in state), "resnets")
    widths = [state[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(levels)]
    return {
        **FLUX_VAE,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": tuple(widths),
        "layers_per_block": resnets,
        "latent_channels": state["decoder.conv_in.weight"].shape[1],
        "use_quant_conv": "quant_conv.weight" in state,
        "use_post_quant_conv": "post_quant_conv.weight" in state,
        "mid_block_add_attention": "encoder.mid_block.attentions.0.to_q.weight" in state,
    }


def to_diffusers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A VAE's tensors under diffusers' names, which may be theirs already; attention's layers become linear."""
    levels = len({name.split(".")[2] for name in state if name.startswith("decoder.up.")})
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        is_attention = ".attn_1." in name
        for pattern, replacement in MIDDLE:
            name = re.sub(pattern, replacement, name)
        name = re.sub(r"^encoder\.down\.(\d+)\.block\.", r"encoder.down_blocks.\1.resnets.", name)
        name = re.sub(r"^encoder\.down\.(\d+)\.downsample\.", r"encoder.down_blocks.\1.downsamplers.0.", name)
        up = re.match(r"decoder\.up\.(\d+)\.(block|upsample)\.", name)
        if up is not None:
            part = "resnets" if up[2] == "block" else "upsamplers.0"
            name = f"decoder.up_blocks.{levels - 1 - int(up[1])}.{part}.{name[up.end() :]}"
        renamed[name] = tensor.squeeze(-1).squeeze(-1) if is_attention and tensor.ndim == 4 else tensor
    return renamed
