"""How much memory a training run will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LIVE_MAPS = 40  # upper estimate of tensors of (tokens, width) that exist at once while a block computes its gradients
MAPS_PER_BLOCK = 34  # what a block keeps for its gradients where nothing is computed anew
BYTES_PER_WEIGHT = 16  # in float32: the weight, its gradient, Adam's two moments


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the device: the base's weights as they are stored, what is ``trained``, and ``activations`` (about)."""

    base: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.base + self.trained + self.activations


def memory_plan(
    transformer: Any,
    trained_weights: int,
    more_blocks: int,
    tokens: int,
    batch: int,
    itemsize: int,
    checkpointing: bool,
) -> MemoryPlan:
    """The memory to train ``trained_weights`` weights on, or beside, a FLUX transformer.

    ``tokens`` are those of text and image together, ``more_blocks`` those of a ControlNet, and ``itemsize`` is that of
    the type in which all compute.
    """
    config = transformer.config
    base = sum(weight.numel() * weight.element_size() for weight in transformer.parameters())
    map_bytes = batch * tokens * config.num_attention_heads * config.attention_head_dim * itemsize
    blocks = config.num_layers + config.num_single_layers + more_blocks
    kept = blocks * (1 if checkpointing else MAPS_PER_BLOCK)
    return MemoryPlan(base, BYTES_PER_WEIGHT * trained_weights, (LIVE_MAPS + kept) * map_bytes)
