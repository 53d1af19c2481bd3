"""A graphics card that no machine needs to have: what lies on it is told apart, and mixing raises as on a real one.

All numbers stay in memory and are computed as on the CPU. The card is Apple's, the strictest there is: it has no
float64, and no code is chosen for it that CUDA alone has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.loading.casting import cast_weights
from torch import nn
from torch.overrides import TorchFunctionMode

CARD, CPU = torch.device("mps"), torch.device("cpu")
DEVICE_OF = torch.Tensor.device.__get__  # type: ignore[attr-defined]
TO_NUMPY = (torch.Tensor.numpy, torch.Tensor.__array__)
AT_INDICES = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
Part = TypeVar("Part")


class CardError(AssertionError):
    """What a card cannot do; no refusal of torch's own, which the code under test may handle."""


class CardTensor(torch.Tensor):
    """A tensor on the card as `PretendedCard` tells it from others; to torch itself it is one like any."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class PretendedCard(TorchFunctionMode):
    """While it is active, tensors can be moved to ``CARD`` and made there, and what is computed of them is there too.

    Raises CardError where tensors of both sides meet, except for single numbers on the CPU and for indices there into
    what is on the card; where a tensor on the card is to become an array; and for float64 on the card.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function == DEVICE_OF:
            return torch.device(CARD.type, 0) if isinstance(args[0], CardTensor) else CPU
        if function == torch.Tensor.cpu:
            return _moved(args[0], CPU)
        if function == torch.Tensor.to:
            return _moved(*args, **kwargs)
        if kwargs.get("device") is not None:
            return _placed(function(*args, **(kwargs | {"device": CPU})), _is_card(kwargs["device"]))
        to_card = _computes_on_card(function, args, kwargs)
        return _placed(function(*args, **kwargs), to_card)


class CardHolder:
    """A holder whose component comes to the card for every computation and leaves it again, as ComfyUI may have it."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        self.module: Any = module
        self.compute_device, self.compute_dtype = CARD, dtype

    @contextlib.contextmanager
    def use(self, activation_bytes: int = 0) -> Iterator[Any]:
        stores: list[dict[str, Any]] = [
            store for layer in self.module.modules() for store in (layer._parameters, layer._buffers)
        ]
        before = [dict(store) for store in stores]
        for store in stores:
            store.update({name: tensor.to(CARD) for name, tensor in store.items() if tensor is not None})
        try:
            yield self.module
        finally:
            for store, tensors in zip(stores, before):
                store.update(tensors)


def on_card(part: Part, dtype: torch.dtype) -> Part:
    """``part``, a dataclass of models, with every component in a `CardHolder`, made to compute in ``dtype``."""
    if isinstance(part, Resident):
        return CardHolder(cast_weights(part.module, dtype), dtype)  # type: ignore[return-value]
    if is_dataclass(part):
        return replace(part, **{field.name: on_card(getattr(part, field.name), dtype) for field in fields(part)})
    return part


def _moved(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """What `torch.Tensor.to` makes of these; always a copy where it changes sides."""
    places = [value for value in (*args, *kwargs.values()) if isinstance(value, (torch.Tensor, torch.device, str))]
    source = isinstance(tensor, CardTensor)
    target = _is_card(places[0]) if places else source
    args = tuple(CPU if isinstance(value, (torch.device, str)) else value for value in args)
    kwargs = kwargs | ({"device": CPU} if "device" in kwargs else {}) | ({"copy": True} if source != target else {})
    return _placed(tensor.to(*args, **kwargs), target)


def _is_card(place: torch.Tensor | torch.device | str) -> bool:
    if isinstance(place, torch.Tensor):
        return isinstance(place, CardTensor)
    return torch.device(place).type == CARD.type


def _computes_on_card(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether any tensor is on the card; raises CardError where others are not."""
    if not any(isinstance(tensor, CardTensor) for tensor in _tensors((args, kwargs))):
        return False
    if function in TO_NUMPY:
        raise CardError("an array of a tensor on the card")
    if function in AT_INDICES and isinstance(args[0], CardTensor):
        args = (args[0], *args[2:])
    elsewhere = [tensor for tensor in _tensors((args, kwargs)) if tensor.ndim and not isinstance(tensor, CardTensor)]
    if elsewhere:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in elsewhere)
        raise CardError(f"{function.__name__} of tensors on the card and others on the CPU: {shapes}")
    return True


def _placed(result: Any, to_card: bool) -> Any:
    """``result`` with all of its tensors on one side."""
    if isinstance(result, torch.Tensor):
        if to_card and result.dtype in (torch.float64, torch.complex128):
            raise CardError(f"{result.dtype} on the card")
        if isinstance(result, CardTensor) == to_card:
            return result
        return result.as_subclass(CardTensor if to_card else torch.Tensor)
    if isinstance(result, (tuple, list)):
        return type(result)(_placed(part, to_card) for part in result)
    return result


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
