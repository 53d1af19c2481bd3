"""Building a network without memory and giving it a file's tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ...errors import Bundle3DError
from .casting import FP8, CastingLayer, cast_weights, main_dtype, natural_compute_dtype

Module = TypeVar("Module", bound=nn.Module)
STORED = (torch.float32, torch.bfloat16, torch.float16, *FP8)
# How scaled fp8 files name the factor of a layer's weight, and what else they say, which only fp8 arithmetic needs.
SCALES = (".scale_weight", ".weight_scale")
SCALE_NOTES = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")


def without_memory(build: Callable[[], Module], path: Path, what: str) -> Module:
    """The network that ``build`` makes, with shapes and no numbers.

    Raises Bundle3DError, naming the file, where the sizes that ``build`` reads from it or its settings make no network.
    """
    try:
        with torch.device("meta"):
            return build()
    except Exception as error:  # the libraries that check settings and build networks raise of every kind
        reason = (str(error).splitlines() or [""])[0].rstrip(":") or type(error).__name__
        raise Bundle3DError(
            f"Expected the sizes of {what} in '{path.name}', but they do not fit together ({reason}); choose the "
            "published file, or the folder with its config.json."
        ) from error


def expected_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the tensors that a file of ``module`` must hold."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def fill(
    module: Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    what: str,
    dtype: torch.dtype | None = None,
    casting: bool = True,
) -> Module:
    """Gives a network without memory the tensors of a file, as they are, and makes it ready to compute.

    ``what`` names the network in refusals. It computes in ``dtype``, or in the type of most of the file (bfloat16
    where that is fp8). With ``casting``, weights keep the file's type and layers cast them; without it they are
    converted here.
    Raises Bundle3DError where a tensor is missing, too many, of the wrong shape or of a type that is no floating-point
    number, and where it has a scale that no layer heeds.
    """
    module.requires_grad_(False)
    scales = {name: state[name] for name in state if name.endswith(SCALES)}
    state = {name: tensor for name, tensor in state.items() if name not in scales and not name.endswith(SCALE_NOTES)}
    _check(state, expected_shapes(module), path, what)
    dtype = dtype or natural_compute_dtype(main_dtype(state.values()))
    module.load_state_dict(state, strict=True, assign=True)
    _restore_buffers(module, path)
    if casting:
        cast_weights(module, dtype)
    else:
        module.to(dtype)
    _set_scales(module, scales, path)
    return module.eval()


def _set_scales(module: nn.Module, scales: Mapping[str, torch.Tensor], path: Path) -> None:
    layers = dict(module.named_modules())
    for name, scale in scales.items():
        layer = layers.get(name.rpartition(".")[0])
        if not isinstance(layer, CastingLayer) or scale.numel() != 1:
            raise Bundle3DError(
                f"Expected one scale for each fp8 layer in '{path.name}', but '{name}' is another kind of "
                "quantisation; use the model's plain fp8, fp16 or bf16 file."
            )
        layer.weight_scale = scale.reshape(())


def _check(state: Mapping[str, torch.Tensor], expected: Mapping[str, tuple[int, ...]], path: Path, what: str) -> None:
    for name, tensor in state.items():
        if tensor.dtype not in STORED:
            raise Bundle3DError(
                f"Expected floating-point numbers in '{path.name}', but '{name}' is {_named(tensor.dtype)}, a "
                "quantisation that is not supported; use the model's fp8, fp16 or bf16 file."
            )
    missing = [name for name in expected if name not in state]
    if missing:
        raise Bundle3DError(
            f"Expected the {len(expected)} tensors of {what} in '{path.name}', but {len(missing)} are missing "
            f"('{missing[0]}' first); the file is incomplete or of another model, choose another or download it again."
        )
    unexpected = [name for name in state if name not in expected]
    if unexpected:
        raise Bundle3DError(
            f"Expected only the {len(expected)} tensors of {what} in '{path.name}', but there are {len(unexpected)} "
            f"others ('{unexpected[0]}' first); it is another model or was changed, choose the published file."
        )
    for name, tensor in state.items():
        if tuple(tensor.shape) != expected[name]:
            raise Bundle3DError(
                f"Expected the tensor '{name}' of {what} in '{path.name}' to be {_by(expected[name])}, but it is "
                f"{_by(tensor.shape)}; the file is of another model, choose another."
            )


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _restore_buffers(module: nn.Module, path: Path) -> None:
    """Gives numbers to what files do not hold: positions, which count up from zero."""
    for name, buffer in list(module.named_buffers()):
        if not buffer.is_meta:
            continue
        owner, _, own_name = name.rpartition(".")
        if own_name != "position_ids":
            raise Bundle3DError(
                f"Expected the tensor '{name}' in '{path.name}', but it is missing; choose another file."
            )
        positions = torch.arange(buffer.shape[-1], device="cpu").expand(buffer.shape)
        module.get_submodule(owner).register_buffer(own_name, positions, persistent=False)
