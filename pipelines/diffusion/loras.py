"""The common strength of a transformer's LoRAs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def scaled_loras(module: nn.Module, scale: float) -> Iterator[None]:
    """Multiplies the scale of every LoRA layer in ``module`` by ``scale``, and puts back exactly what was there.

    The layers are PEFT's, which keep one factor per adapter in ``scaling``.
    """
    layers: list[Any] = [] if scale == 1.0 else [layer for layer in module.modules() if hasattr(layer, "lora_A")]
    before = [dict(layer.scaling) for layer in layers]
    try:
        for layer, factors in zip(layers, before):
            layer.scaling.update({name: factor * scale for name, factor in factors.items()})
        yield
    finally:
        for layer, factors in zip(layers, before):
            layer.scaling.update(factors)
