"""How the flows of Pixal3D-D are followed: guided at all times, over levels of noise that are shifted twice.

Source: specs/pixal3d.md section 1.4; the levels are those of diffusers' FlowMatchEulerDiscreteScheduler.
"""

from __future__ import annotations

from ...diffusion.schedule import twice_shifted_sigmas
from ..sampler import Sampling

GUIDANCE = 7.0
STEPS = {"structure": 50, "coarse": 30, "fine": 15}


class TwiceShiftedSampling(Sampling):
    """`Sampling` over other times."""

    def times(self) -> list[float]:
        times: list[float] = twice_shifted_sigmas(self.steps, self.shift).tolist()
        return times


def published_sampling(stage: str, shift: float) -> TwiceShiftedSampling:
    """That of "structure", "coarse" or "fine", with the ``shift`` of its scheduler."""
    return TwiceShiftedSampling(STEPS[stage], GUIDANCE, rescale=0.0, interval=(0.0, 1.0), shift=shift)
