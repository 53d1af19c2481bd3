"""Heun's method for flow matching. Sources: specs/kiss3dgen.md 2.4; Karras et al. 2022, algorithm 1."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

from ..progress import Progress, silent
from .schedule import evaluations

Velocity = Callable[[torch.Tensor, float, int], torch.Tensor]
Picture = Callable[[torch.Tensor], torch.Tensor]


def sample_heun(
    velocity: Velocity,
    latents: torch.Tensor,
    sigmas: torch.Tensor,
    progress: Progress = silent,
    picture: Picture | None = None,
) -> torch.Tensor:
    """Follows the flow from noise level ``sigmas[0]`` to ``sigmas[-1]``.

    ``velocity(latents, sigma, index)`` is the model's output at its ``index``-th evaluation; each step averages the
    velocities at both of its ends, except a step to level 0, which is Euler's. The state is float32 whatever the model
    computes in. ``progress`` is called before the first and after every evaluation, with ``picture`` of the clean
    latents that the model foresees.
    """
    total = evaluations(sigmas)
    index = 0
    levels = sigmas.tolist()
    latents = latents.float()
    progress(0, total)

    def evaluate(state: torch.Tensor, sigma: float) -> torch.Tensor:
        nonlocal index
        flow = velocity(state, sigma, index).float()
        index += 1
        progress(index, total, None if picture is None else lambda: picture(state - sigma * flow))
        return flow

    for sigma, following in itertools.pairwise(levels):
        start = evaluate(latents, sigma)
        ahead = latents + (following - sigma) * start
        if following > 0:
            end = evaluate(ahead, following)
            ahead = latents + (following - sigma) * (start + end) / 2
        latents = ahead
    return latents
