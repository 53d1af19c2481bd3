"""A reconstruction model from the files that users have: PRM's and InstantMesh's checkpoints, and safetensors.

Source: specs/kiss3dgen.md sections 5.1 and 5.2.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..checkpoints.safe_load import read_metadata, read_state_dict
from ..diffusion.loading.assemble import fill, without_memory
from ..errors import Bundle3DError
from .config import config_from_shapes
from .model import LargeReconstructionModel

PREFIX = "lrm_generator."
WHAT = "a reconstruction model (PRM or InstantMesh)"
DTYPES = (torch.float32, torch.bfloat16)


def load_lrm(path: Path, dtype: torch.dtype | None = None) -> LargeReconstructionModel:
    """The model in a file (.ckpt, .pt, .pth, .bin or .safetensors), on the CPU, ready to compute.

    Of a training checkpoint only the tensors that start with ``lrm_generator.`` are taken. Dimensions come from the
    shapes and the file's metadata. Encoder and transformer are held and compute in ``dtype``, float32 or bfloat16;
    without it in the file's type, or in float32 where that is neither. Weights of the wanted type stay mapped from the
    file and are never copied.

    Raises Bundle3DError where the file is not such a model, or a tensor is missing, too many or of the wrong shape.
    """
    path = Path(path)
    if dtype not in (None, *DTYPES):
        raise Bundle3DError(f"Expected float32 or bfloat16 for a reconstruction model, but got {dtype}; choose one.")
    state = read_state_dict(path)
    own = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
    state = own or state
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    config = config_from_shapes(shapes, read_metadata(path), path)
    model = without_memory(lambda: LargeReconstructionModel(config), path, WHAT)
    fill(model, state, path, WHAT, casting=False)
    stored = model.transformer.pos_embed.dtype
    wanted = dtype or (stored if stored in DTYPES else torch.float32)
    model.encoder.to(wanted)
    model.transformer.to(wanted)
    model.synthesizer.float()
    return model
