"""A reconstruction model as memory managers hold it: the large networks, and the small decoders on their own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..diffusion.holder import Holder, Resident
from .config import LrmConfig
from .field import POINTS
from .model import LargeReconstructionModel

DECODERS = "synthesizer"
# Of memory, measured: for each vertex of the lattice, for each square of one of its faces (a surface is a few times as
# large), and for each texel.
LATTICE_BYTES, SURFACE_BYTES, TEXEL_BYTES = 16, 4096, 112


@dataclass(frozen=True)
class HeldModel:
    """``network`` makes feature planes, ``decoders`` read them; neither has what the other has.

    The decoders are few numbers whose precision decides where the surface is: they stay float32, wherever the planes
    are, and no memory manager casts or moves them. ``domain`` says for people what the model was trained on, where that
    is less than they may expect.
    """

    network: Holder
    decoders: LargeReconstructionModel
    domain: str = ""

    @property
    def config(self) -> LrmConfig:
        return self.decoders.config

    def decoders_on(self, device: torch.device) -> LargeReconstructionModel:
        """The decoders, moved to ``device``."""
        return self.decoders.to(device)


def held(model: LargeReconstructionModel, hold: Callable[[Any], Holder] = Resident, domain: str = "") -> HeldModel:
    """``model`` with its networks held by ``hold``; the weights are shared, not copied."""
    network, decoders = copy.copy(model), copy.copy(model)
    network._modules = {name: part for name, part in model._modules.items() if name != DECODERS}
    decoders._modules = {DECODERS: model._modules[DECODERS]}
    decoders.eval().requires_grad_(False)
    return HeldModel(hold(network), decoders, domain)


def activation_bytes(config: LrmConfig, views: int, dtype: torch.dtype) -> int:
    """About what one pass through the networks needs beside the weights."""
    seen = views * ((config.image_size // config.patch_size) ** 2 + 1)
    encoded = seen * (config.encoder_hidden + 6 * config.encoder_width)
    asked = 3 * config.plane_size**2 * (config.hidden + 6 * config.width) + 2 * seen * config.width
    return max(encoded, asked) * dtype.itemsize


def surface_bytes(config: LrmConfig, resolution: int, texture: int) -> int:
    """About what reading a mesh off the planes needs, at ``resolution`` cubes and ``texture`` texels per side."""
    side = resolution + 1
    looked_up = 3 * config.plane_channels * 4 * max(side**2, 2 * POINTS)
    return LATTICE_BYTES * side**3 + SURFACE_BYTES * side**2 + TEXEL_BYTES * texture**2 + looked_up
