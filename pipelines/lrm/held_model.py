"""A reconstruction model as memory managers hold it: the large networks, and the small decoders on their own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..diffusion.holder import Holder, Resident
from .config import LrmConfig
from .model import LargeReconstructionModel

DECODERS = "synthesizer"


@dataclass(frozen=True)
class HeldModel:
    """``network`` makes feature planes, ``reader`` has the decoders that read them; neither has what the other has.

    The decoders are few numbers whose precision decides where the surface is: they stay float32, wherever the planes
    are, and no memory manager casts or moves them.
    """

    network: Holder
    reader: LargeReconstructionModel

    @property
    def config(self) -> LrmConfig:
        return self.reader.config

    def reader_on(self, device: torch.device) -> LargeReconstructionModel:
        """The decoders, moved to ``device``."""
        return self.reader.to(device)


def held(model: LargeReconstructionModel, hold: Callable[[Any], Holder] = Resident) -> HeldModel:
    """``model`` with its networks held by ``hold``; the weights are shared, not copied."""
    network, reader = copy.copy(model), copy.copy(model)
    network._modules = {name: part for name, part in model._modules.items() if name != DECODERS}
    reader._modules = {DECODERS: model._modules[DECODERS]}
    reader.eval().requires_grad_(False)
    return HeldModel(hold(network), reader)


def activation_bytes(config: LrmConfig, views: int, dtype: torch.dtype) -> int:
    """About what one pass through the networks needs beside the weights."""
    seen = views * ((config.image_size // config.patch_size) ** 2 + 1)
    encoded = seen * (config.encoder_hidden + 6 * config.encoder_width)
    asked = 3 * config.plane_size**2 * (config.hidden + 6 * config.width) + 2 * seen * config.width
    return max(encoded, asked) * dtype.itemsize
