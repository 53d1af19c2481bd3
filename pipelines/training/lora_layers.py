"""LoRA layers on a FLUX transformer: added for training, saved in the names that diffusers and ComfyUI read.

Source: Hu et al. 2021, LoRA: the weight becomes W + alpha / rank * B @ A, with A random and B zero at the start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ..errors import Bundle3DError
from .masters import with_masters
from .whole_file import whole_file

ADAPTER = "trained"
BLOCKS, ATTENTION = "blocks", "attention"
IN_BLOCKS = ("transformer_blocks.", "single_transformer_blocks.")


def target_layers(transformer: nn.Module, targets: str = BLOCKS) -> list[str]:
    """The linear layers that ``targets`` means: "blocks" (all in the blocks), "attention", or endings of names.

    Endings are separated by commas, as in "to_q,to_k,ff.net.2". Raises Bundle3DError for one that no layer has.
    """
    layers = [
        name for name, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and name.startswith(IN_BLOCKS)
    ]  # fmt: skip
    if targets == BLOCKS:
        return layers
    if targets == ATTENTION:
        return [name for name in layers if ".attn." in name]
    endings = [ending.strip() for ending in targets.split(",") if ending.strip()]
    for ending in endings or [targets]:
        if not any(f".{name}".endswith(f".{ending}") for name in layers):
            raise Bundle3DError(
                f"Expected '{BLOCKS}', '{ATTENTION}' or endings of layer names such as to_q,to_k,to_v, but no layer "
                f"ends with {ending!r}; correct --targets."
            )
    return [name for name in layers if any(f".{name}".endswith(f".{ending}") for ending in endings)]


def add_lora(
    transformer: nn.Module, layers: Sequence[str], rank: int, alpha: float, dtype: torch.dtype, seed: int
) -> None:
    """Puts trainable LoRA layers of float32 on ``layers``, which compute in ``dtype``; all else is frozen.

    The transformer gives what it gave before, until it is trained. Raises Bundle3DError for a rank below 1.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if rank < 1:
        raise Bundle3DError(f"Expected a rank of at least 1, but got {rank}; the reference takes 128.")
    transformer.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(map(re.escape, layers)))  # type: ignore[arg-type]
    inject_adapter_in_model(config, transformer, adapter_name=ADAPTER)
    generator = torch.Generator().manual_seed(seed)
    for _, layer in _lora_layers(transformer):
        layer.cast_input_dtype_enabled = False  # its matrices are cast to the input, not the input to them
        down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        bound = 1.0 / math.sqrt(down.shape[1])
        start = (2.0 * torch.rand(down.shape, generator=generator) - 1.0) * bound
        down.data, up.data = start.to(down.device), torch.zeros(up.shape, device=up.device)
    with_masters(transformer, dtype)


def lora_weights(transformer: nn.Module, layers: Sequence[str], rank: int) -> int:
    """How many weights a LoRA of ``rank`` on ``layers`` has."""
    linear: list[Any] = [transformer.get_submodule(name) for name in layers]
    return sum(rank * (layer.in_features + layer.out_features) for layer in linear)


def save_lora(transformer: nn.Module, path: Path, dtype: torch.dtype, about: dict[str, str] | None = None) -> None:
    """Writes the LoRA's matrices and alphas in ``dtype`` as safetensors under ``transformer.<layer>.lora_A.weight``.

    diffusers' ``load_lora_weights``, ComfyUI's LoRA loaders and ``load_lora`` read these names. ``about`` becomes the
    file's metadata.
    """
    state: dict[str, torch.Tensor] = {}
    for name, layer in _lora_layers(transformer):
        prefix = f"transformer.{name}"
        state[f"{prefix}.lora_A.weight"] = layer.lora_A[ADAPTER].weight.detach().to("cpu", dtype).contiguous()
        state[f"{prefix}.lora_B.weight"] = layer.lora_B[ADAPTER].weight.detach().to("cpu", dtype).contiguous()
        state[f"{prefix}.alpha"] = torch.tensor(float(layer.lora_alpha[ADAPTER]))
    with whole_file(path) as unfinished:
        save_file(state, str(unfinished), metadata={"format": "pt", **(about or {})})


def _lora_layers(transformer: nn.Module) -> list[tuple[str, Any]]:
    return [(name, layer) for name, layer in transformer.named_modules() if hasattr(layer, "lora_A")]
