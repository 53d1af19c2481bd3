"""What training takes unless it is told otherwise, by the size of the base.

Source: specs/kiss3dgen.md 2.2: rank 128, learning rate 8e-4, batch 4, by FluxGym, whose trainer takes alpha 1 and
guidance 1 unasked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SMALL_WIDTH = 1024


@dataclass(frozen=True)
class Recipe:
    """Defaults for a base; ``guidance`` is what it is told while the adapter learns."""

    rank: int
    alpha: float
    learning_rate: float
    controlnet_rate: float
    batch: int
    guidance: float


KISS3DGEN = Recipe(rank=128, alpha=1.0, learning_rate=8e-4, controlnet_rate=1e-5, batch=4, guidance=1.0)
SMALL = Recipe(rank=16, alpha=16.0, learning_rate=1e-3, controlnet_rate=5e-4, batch=8, guidance=3.5)


def recipe_for(transformer: Any) -> Recipe:
    """The paper's for FLUX.1-dev, that for small networks where the transformer is narrower than 1024."""
    config = transformer.config
    return SMALL if config.num_attention_heads * config.attention_head_dim < SMALL_WIDTH else KISS3DGEN
