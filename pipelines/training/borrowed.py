"""Components that are on the accelerator only while they compute."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..diffusion.loading.casting import compute_dtype_of


class Borrowed:
    """A holder whose weights stay where they were loaded, memory-mapped perhaps, and are copied for each use.

    May be entered again while it is in use, so that an outer ``use`` saves the copying. Nothing is copied of what is on
    ``device`` already, and neither mode nor gradients are changed: a network in training can be held.
    """

    def __init__(self, module: nn.Module, device: torch.device | str) -> None:
        self.module: Any = module
        self.compute_device = torch.device(device)
        self.compute_dtype = compute_dtype_of(module)
        self._depth = 0

    @contextlib.contextmanager
    def use(self, activation_bytes: int = 0) -> Iterator[Any]:
        tensors = [] if self._depth else list(itertools.chain(self.module.parameters(), self.module.buffers()))
        home = [tensor.data for tensor in tensors]
        self._depth += 1
        try:
            for tensor in tensors:
                tensor.data = tensor.data.to(self.compute_device)
            yield self.module
        finally:
            self._depth -= 1
            for tensor, data in zip(tensors, home):
                tensor.data = data
