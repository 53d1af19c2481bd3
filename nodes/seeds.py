"""Seeds as nodes offer them."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

LARGEST_SEED = 2**63 - 1  # of what torch draws
LARGEST_OTHER_SEED = 2**31 - 1


def seed_input(tooltip: str, largest: int = LARGEST_OTHER_SEED) -> Any:
    """The seed of a node, which stays as it is until a user changes it."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=largest,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip=tooltip,
    )


def seed_of(seed: int, index: int) -> int:
    """The seed of a batch's member: those after the batch's own, and 0 after the largest."""
    return (seed + index) % (LARGEST_SEED + 1)
