"""FLUX ControlNets from a single file or a folder of diffusers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...checkpoints.safe_load import read_metadata
from ...errors import Bundle3DError
from .assemble import fill, without_memory
from .configurations import CONTROLNET_UNION, rotary_axes
from .source import read_component, weights_file, wrong_kind
from .transformer import NEEDED, block_config

if TYPE_CHECKING:
    from diffusers import FluxControlNetModel

MODES_NOTE = "modes"  # where the metadata of the weights note the ids of a union network's modes
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


def controlnet_modes(path: Path, network: Any) -> dict[str, int] | None:
    """The ids of the modes of ``network``, a FluxControlNetModel, as noted in the file or folder that it came from.

    They are a JSON table under ``modes`` in the metadata of the safetensors file. None for a network of one use, and
    where nothing is noted. Raises Bundle3DError where what is noted does not fit the network.
    """
    file = weights_file(path) if path.is_dir() else path
    if not network.union or file.suffix == ".json":
        return None
    noted = read_metadata(file).get(MODES_NOTE)
    if noted is None:
        return None
    try:
        modes = json.loads(noted)
    except ValueError:
        modes = None
    count = network.config.num_mode
    if not isinstance(modes, dict) or not modes or not all(_is_id(mode, count) for mode in modes.values()):
        raise Bundle3DError(
            f"Expected names with ids from 0 to {count - 1} as the {MODES_NOTE} in the metadata of '{file.name}', but "
            f"got {noted[:200]!r}; save or train the ControlNet again."
        )
    return modes


def _is_id(value: object, count: int) -> bool:
    return type(value) is int and 0 <= value < count


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
