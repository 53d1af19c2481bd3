"""Euler's method with guidance in an interval of times, and with the guided prediction's deviation brought back.

Source: specs/pixal3d.md section 3.6. Guidance interval: Kynkaanniemi et al. 2024; rescale: Lin et al. 2024.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ..diffusion.schedule import shifted
from ..errors import Bundle3DError
from ..progress import Preview, Progress, silent

MOST_STEPS = 1000

Picture = Callable[[torch.Tensor], torch.Tensor]  # of latents (N, C): (H, W, 3) in [0, 1]


class Velocity(Protocol):
    """The model: flow (N, C) at a state (N, C) and time, given the pictures where ``conditioned``, else nothing."""

    def __call__(self, state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor: ...


@dataclass(frozen=True)
class Sampling:
    """How to follow the flow; the defaults are those of the published shape stages.

    ``guidance`` 1 asks the model once a step, otherwise twice where the time is within ``interval``, both ends
    included. ``rescale`` in [0, 1] is how much of the guided prediction takes the deviation of the unguided one.
    Raises Bundle3DError for values out of range.
    """

    steps: int = 12
    guidance: float = 7.5
    rescale: float = 0.5
    interval: tuple[float, float] = (0.6, 1.0)
    shift: float = 3.0
    sigma_min: float = 1e-5

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= MOST_STEPS:
            raise Bundle3DError(f"Expected 1 to {MOST_STEPS} steps, but got {self.steps}; choose 12.")
        if not self.guidance >= 0:
            raise Bundle3DError(f"Expected a guidance of at least 0, but got {self.guidance}; choose 7.5.")
        if not 0 <= self.rescale <= 1:
            raise Bundle3DError(f"Expected a rescale of 0 to 1, but got {self.rescale}; choose 0.5.")
        if not 0 <= self.interval[0] <= self.interval[1] <= 1:
            raise Bundle3DError(
                f"Expected an interval of times within 0 to 1, but got {self.interval}; choose 0.6 to 1."
            )
        if not self.shift > 0 or not 0 <= self.sigma_min < 1:
            raise Bundle3DError(
                f"Expected a positive shift and a least noise of 0 to 1, but got {self.shift} and {self.sigma_min}; "
                "choose 3 and 0.00001."
            )

    def times(self) -> list[float]:
        """The ``steps + 1`` times from 1 for noise down to 0, in float64: guidance ends exactly on one of them."""
        evenly = torch.from_numpy(np.linspace(1.0, 0.0, self.steps + 1))
        times: list[float] = shifted(evenly, self.shift).tolist()
        return times

    def guided(self, time: float) -> bool:
        """Whether the step from ``time`` asks the model twice."""
        return self.guidance != 1.0 and self.interval[0] <= time <= self.interval[1]

    def evaluations(self) -> int:
        """How often the model is asked in all."""
        return sum(1 + self.guided(time) for time in self.times()[:-1])


STRUCTURE = Sampling(rescale=0.7, shift=5.0)
SHAPE = Sampling()
TEXTURE = Sampling(guidance=1.0, rescale=0.0, interval=(0.6, 0.9))


def sample_flow(
    velocity: Velocity,
    noise: torch.Tensor,
    sampling: Sampling,
    lengths: Sequence[int],
    dense: bool = False,
    progress: Progress = silent,
    picture: Picture | None = None,
) -> torch.Tensor:
    """What flows out of ``noise`` (N, C) float32: the first ``lengths[0]`` rows are one object's, and so on.

    ``dense`` objects fill their lattice; the published code takes their deviation with Bessel's correction.
    ``progress`` is called before the first and after every evaluation of the model, after a whole step with ``picture``
    of the latents that the model foresees.
    """
    total, done = sampling.evaluations(), 0
    state = noise.float()
    progress(0, total)
    for time, following in itertools.pairwise(sampling.times()):
        flow = velocity(state, time, True)
        if sampling.guided(time):
            done += 1
            progress(done, total)
            nothing = velocity(state, time, False)
            flow = _guided(state, time, flow, nothing, sampling, lengths, dense)
        done += 1
        progress(done, total, _later(picture, state, time, flow, sampling))
        state = state - (time - following) * flow
    return state


def _later(
    picture: Picture | None, state: torch.Tensor, time: float, flow: torch.Tensor, sampling: Sampling
) -> Preview | None:
    return None if picture is None else lambda: picture(_foreseen(state, time, flow, sampling))


def _foreseen(state: torch.Tensor, time: float, flow: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Where ``flow`` leads from ``state`` in a straight line."""
    least = 1.0 - sampling.sigma_min
    return least * state - (sampling.sigma_min + least * time) * flow


def _guided(
    state: torch.Tensor,
    time: float,
    flow: torch.Tensor,
    nothing: torch.Tensor,
    sampling: Sampling,
    lengths: Sequence[int],
    dense: bool,
) -> torch.Tensor:
    guided = sampling.guidance * flow + (1.0 - sampling.guidance) * nothing
    if not sampling.rescale:
        return guided
    unguided_object = _foreseen(state, time, flow, sampling)
    guided_object = _foreseen(state, time, guided, sampling)
    ratio = deviations(unguided_object, lengths, dense) / deviations(guided_object, lengths, dense)
    rescaled = guided_object * (sampling.rescale * ratio + (1.0 - sampling.rescale))
    least = 1.0 - sampling.sigma_min
    return (least * state - rescaled) / (sampling.sigma_min + least * time)


def deviations(values: torch.Tensor, lengths: Sequence[int], dense: bool) -> torch.Tensor:
    """(N, 1): the standard deviation of all numbers of the object to which each row of ``values`` (N, C) belongs."""
    each = [part.std(correction=int(dense)).expand(len(part), 1) for part in values.split(list(lengths))]
    return torch.cat(each)
