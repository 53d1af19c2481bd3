"""Weights of diffusion networks in few bytes, as the demo models are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import save_file

from .whole_file import whole_file

WEIGHTS = "diffusion_pytorch_model.safetensors"
FORMAT: Mapping[str, str] = MappingProxyType({"format": "pt"})
BLOCKS = ("transformer_blocks.", "single_transformer_blocks.", "down_blocks.", "mid_block.", "up_blocks.")


def save_small(state: Mapping[str, torch.Tensor], folder: Path, notes: Mapping[str, str] = FORMAT) -> None:
    """Writes the weights of a network of diffusers into its ``folder``: ``small``, with ``notes`` as metadata."""
    with whole_file(folder / WEIGHTS) as unfinished:
        save_file(small(state), unfinished, metadata=dict(notes))


def small(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices and kernels of blocks in float8 (e4m3), as published fp8 checkpoints have them; the rest in float16.

    What leads in and out, norms and biases are few and matter more. Stock diffusers and this pack read such files and
    compute in wider types.
    """
    return {name: weight.detach().to("cpu", _stored(name, weight)).contiguous() for name, weight in state.items()}


def _stored(name: str, weight: torch.Tensor) -> torch.dtype:
    return torch.float8_e4m3fn if weight.dim() > 1 and name.startswith(BLOCKS) else torch.float16
