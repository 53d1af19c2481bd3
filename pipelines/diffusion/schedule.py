"""Noise levels of the reference's sampler. Source: specs/kiss3dgen.md 2.4."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError

TRAINING_STEPS = 1000


def shifted(sigmas: torch.Tensor, shift: float) -> torch.Tensor:
    """The time shift of flow matching: ``shift * sigma / (1 + (shift - 1) * sigma)``."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def twice_shifted_sigmas(steps: int, shift: float = 3.0) -> torch.Tensor:
    """The (steps + 1,) float32 noise levels from 1 down to 0 that FLUX gets from diffusers' Heun scheduler.

    It shifts the training levels once when it is made, and the levels evenly spaced between the ends of those once
    more when the number of steps is set; the LoRA's pictures depend on it. Static: the picture's size has no part.
    """
    least = shifted(torch.tensor(1 / TRAINING_STEPS, dtype=torch.float64), shift)
    evenly = torch.linspace(1.0, float(least), steps, dtype=torch.float64)
    return torch.cat([shifted(evenly, shift), torch.zeros(1, dtype=torch.float64)]).float()


def first_step(steps: int, strength: float) -> int:
    """The step at which a drawing starts from an initial picture that is redrawn with ``strength`` in [0, 1].

    The reference's ``int(steps - min(steps * strength, steps))``, but never 0: the noise level of step 0 is 1, where
    nothing is left of the picture (bug B4 of specs/kiss3dgen.md 10). So a strength of 1 keeps the least that the
    schedule can keep, and who wants the picture ignored leaves it out.
    """
    return max(1, int(steps - min(steps * strength, steps)))


def check_redrawing(steps: int) -> None:
    """Raises Bundle3DError where no step is left for an initial picture, because the only one starts from noise."""
    if steps < 2:
        raise Bundle3DError(
            f"Expected at least 2 steps for an initial image, but got {steps}, which draws from pure noise; take more "
            "steps."
        )


def evaluations(sigmas: torch.Tensor) -> int:
    """How often Heun's method evaluates the model over ``sigmas``: twice a step, once for the last one."""
    return max(0, 2 * (len(sigmas) - 1) - 1)
