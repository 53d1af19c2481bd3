"""One network of Pixal3D from the tensors of a file, strictly. Source: specs/pixal3d.md sections 3.1 to 3.3."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from ..diffusion.loading.assemble import fill, without_memory
from ..errors import Bundle3DError
from .config import flow_config, structure_decoder_config, voxel_decoder_config
from .flow_transformer import FlowTransformer
from .structure_decoder import StructureDecoder
from .voxel_decoder import VoxelDecoder

State = Mapping[str, torch.Tensor]
Config = TypeVar("Config")
# Lattices of the published flows, where neither a JSON file nor the tensors tell them.
RESOLUTIONS = {"structure": 16, "shape": 32, "fine_shape": 64, "texture": 64}
FLOW_NAMES = {
    "structure": "a structure flow of Pixal3D",
    "shape": "a shape flow of Pixal3D",
    "fine_shape": "a fine shape flow of Pixal3D",
    "texture": "a texture flow of Pixal3D",
}
PHASES = "rope_phases"  # a table of the structure flow's file that is computed here
# What flows compute in: some activations exceed the range of float16.
FLOW_DTYPES = (torch.float32, torch.bfloat16)


def build_flow(
    stage: str, state: State, path: Path, dtype: torch.dtype | None = None, resolution: int | None = None
) -> FlowTransformer:
    """The flow of ``stage`` with these tensors from the file ``path``, on the CPU, ready to compute.

    It computes in ``dtype``, float32 or bfloat16; without it in the file's type, or in float32 where that is neither.
    Raises Bundle3DError, naming the file, where the tensors are of another model, missing, too many or of wrong shapes.
    """
    what = FLOW_NAMES[stage]
    if dtype not in (None, *FLOW_DTYPES):
        raise Bundle3DError(f"Expected float32 or bfloat16 for {what}, but got {dtype}; choose one.")
    _refuse_trellis(state, path, what)
    state = dict(state)
    phases = state.pop(PHASES, None)
    if resolution is None:
        resolution = RESOLUTIONS[stage] if phases is None else round(phases.shape[0] ** (1 / 3))
    side = resolution
    config = read_config(lambda shapes: flow_config(shapes, side), state, path, what)
    if phases is not None and tuple(phases.shape) != (resolution**3, config.width // config.heads // 2):
        raise Bundle3DError(
            f"Expected rotary phases of {resolution}^3 voxels in '{path.name}', but they are "
            f"{'x'.join(map(str, phases.shape))}; the file and its JSON are of different models, download both again."
        )
    network = without_memory(lambda: FlowTransformer(config), path, what)
    stored = state["input_layer.weight"].dtype
    return fill(network, state, path, what, dtype or (stored if stored in FLOW_DTYPES else torch.float32))


def build_structure_decoder(state: State, path: Path, dtype: torch.dtype | None = None) -> StructureDecoder:
    """The structure decoder with these tensors, computing in ``dtype`` or float32. Raises as `build_flow`."""
    what = "a structure decoder of Pixal3D"
    config = read_config(structure_decoder_config, state, path, what)
    network = without_memory(lambda: StructureDecoder(config), path, what)
    return fill(network, state, path, what, dtype or torch.float32, casting=False)


def build_voxel_decoder(part: str, state: State, path: Path, dtype: torch.dtype | None = None) -> VoxelDecoder:
    """The decoder of "shape" or "texture" with these tensors; it computes in ``dtype`` or in the file's type.

    Raises as `build_flow`.
    """
    what = f"a {part} decoder of Pixal3D"
    config = read_config(voxel_decoder_config, state, path, what)
    if config.subdivides != (part == "shape"):
        raise Bundle3DError(
            f"Expected {what}, but '{path.name}' holds that of {'shapes' if config.subdivides else 'textures'}; choose "
            "the other file."
        )
    network = without_memory(lambda: VoxelDecoder(config), path, what)
    return fill(network, state, path, what, dtype)


def read_config(read: Callable[[Mapping[str, tuple[int, ...]]], Config], state: State, path: Path, what: str) -> Config:
    """What ``read`` tells of the shapes of these tensors from the file ``path``; raises Bundle3DError where it cannot.

    ``read`` raises LookupError, TypeError or ValueError; ``what`` names the network.
    """
    try:
        return read({name: tuple(tensor.shape) for name, tensor in state.items()})
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        why = f"there is no tensor {error}" if isinstance(error, KeyError) else str(error)
        raise Bundle3DError(
            f"Expected {what} in '{path.name}', but cannot tell its dimensions ({why}); choose the published file or "
            "one made by this pack."
        ) from error


def _refuse_trellis(state: State, path: Path, what: str) -> None:
    if "blocks.0.cross_attn.to_q.weight" in state and not any(".proj_linear." in name for name in state):
        raise Bundle3DError(
            f"Expected {what}, but '{path.name}' holds a flow of TRELLIS.2, which has no place for pictures projected "
            "onto voxels; choose the file of Pixal3D."
        )
