"""Who owns a model component, and where it is while it computes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import nn


class Holder(Protocol):
    """A model component that a memory manager may move between computations.

    ``use`` is entered anew for every computation and never inside another holder's ``use``: whoever manages the memory
    may move any component away as soon as the next one is asked for. Components are ``Any``, because the classes that
    diffusers exports are placeholders to a type checker.
    """

    @property
    def module(self) -> Any:
        """The component wherever it is now: for its configuration, not for computing."""
        ...

    @property
    def compute_device(self) -> torch.device:
        """Where inputs must be when the component computes."""
        ...

    @property
    def compute_dtype(self) -> torch.dtype:
        """What floating-point inputs must be; weights may be stored smaller."""
        ...

    def use(self, activation_bytes: int = 0) -> AbstractContextManager[Any]:
        """The component ready to compute, with about ``activation_bytes`` free beside it."""
        ...


class Resident:
    """A holder whose component is on its device from the start and stays there.

    ``dtype`` is what inputs must be; without it, what layers that cast their weights compute in, else what the weights
    are.
    """

    def __init__(self, module: nn.Module, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> None:
        self.module: Any = module.to(device).eval().requires_grad_(False)
        self.compute_device = torch.device(device)
        layers: list[Any] = list(module.modules())
        cast_to = (layer.compute_dtype for layer in layers if hasattr(layer, "compute_dtype"))
        self.compute_dtype: torch.dtype = dtype or next(cast_to, next(module.parameters()).dtype)

    @contextlib.contextmanager
    def use(self, activation_bytes: int = 0) -> Iterator[Any]:
        yield self.module
