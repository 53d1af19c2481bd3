"""FLUX ControlNets from a single file or a folder of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import Bundle3DError
from .assemble import fill, without_memory
from .configurations import CONTROLNET_UNION, rotary_axes
from .source import read_component, wrong_kind
from .transformer import NEEDED, block_config

if TYPE_CHECKING:
    from diffusers import FluxControlNetModel

WHAT = "a FLUX ControlNet"
ADVICE = "choose a FLUX.1-dev ControlNet in diffusers' names, such as InstantX's Union, in ComfyUI's folder controlnet"


def load_controlnet(path: Path, dtype: torch.dtype | None = None) -> FluxControlNetModel:
    """A FLUX ControlNet, with or without modes, from a file in diffusers' names or a folder of diffusers.

    Weights stay stored as in the file; it computes in ``dtype``, or in the file's type (bfloat16 where that is fp8).
    Raises Bundle3DError where the file holds no FLUX ControlNet that works on latents, or not a whole one.
    """
    from diffusers import FluxControlNetModel

    path = Path(path)
    settings, state, file = read_component(path, ("FluxControlNetModel",), ())
    if settings is None and not (NEEDED | {"controlnet_x_embedder.weight"}) <= state.keys():
        raise wrong_kind(path, WHAT, ADVICE)
    if any(name.startswith("input_hint_block.") for name in state):
        raise Bundle3DError(
            f"Expected a FLUX ControlNet that reads latents, but '{path.name}' reads pixels (XLabs'); {ADVICE}."
        )
    model = without_memory(lambda: FluxControlNetModel.from_config(settings or controlnet_config(state)), file, WHAT)
    return fill(model, state, file, WHAT, dtype)


def controlnet_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a FLUX ControlNet from names and shapes; it has as many modes as embeddings of them."""
    modes = state.get("controlnet_mode_embedder.weight")
    config = block_config(state)
    return {
        **CONTROLNET_UNION,
        **config,
        "axes_dims_rope": list(rotary_axes(config["attention_head_dim"])),
        "num_mode": None if modes is None else modes.shape[0],
    }
