"""Where nodes compute: device, memory, and tensors that gradients may flow through."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import comfy.model_management as model_management
import torch

from ..pipelines.diffusion import memory as torch_memory
from ..pipelines.errors import Bundle3DError

logger = logging.getLogger(__name__)

Setting = TypeVar("Setting")
Result = TypeVar("Result")
Value = TypeVar("Value")


def compute_device(memory: int = 0) -> torch.device:
    """The CUDA device that ComfyUI works on, with ``memory`` bytes freed there; the CPU on every other machine."""
    device = model_management.get_torch_device()
    if device.type != "cuda":
        return torch.device("cpu")
    model_management.free_memory(memory + model_management.minimum_inference_memory(), device)
    return device


def as_output(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` as float32 where ComfyUI keeps the results of nodes."""
    return tensor.detach().to(model_management.intermediate_device(), torch.float32)


@contextlib.contextmanager
def gradients() -> Iterator[None]:
    """Lets autograd work inside a node, which ComfyUI runs in inference mode; use it with ``thaw``."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def thaw(value: Value) -> Value:
    """A copy of tensors, dataclasses and tuples whose tensors autograd accepts; call it inside ``gradients``."""
    copy: Any = value
    if isinstance(value, torch.Tensor):
        copy = value.detach().clone()
    elif isinstance(value, tuple):
        copy = tuple(thaw(item) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        copy = dataclasses.replace(
            value, **{field.name: thaw(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        )
    return copy


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory, by torch's signs or those that ComfyUI knows of its devices."""
    return model_management.is_oom(error) or torch_memory.is_out_of_memory(error)


def within_memory(attempt: Callable[[Setting], Result], settings: Sequence[Setting], advice: str) -> Result:
    """The result of ``attempt`` with the first of ``settings``, ordered from large to small, that fits into memory.

    Raises Bundle3DError with ``advice`` where not even the last one fits.
    """
    for setting in settings:
        try:
            return attempt(setting)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("Bundle3D: out of memory with %s", setting)
        model_management.soft_empty_cache()
    least = "" if settings[-1] is None else f" even with {settings[-1]}"
    raise Bundle3DError(f"Expected the work to fit into memory, but it did not{least}; {advice}.")
