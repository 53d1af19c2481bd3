from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.schedule import evaluations, first_step, twice_shifted_sigmas
from diffusers import FlowMatchHeunDiscreteScheduler

REFERENCE_20 = (
    *(1, 0.981875, 0.962386, 0.941373, 0.918652, 0.894003, 0.867172, 0.837855, 0.805689, 0.770239, 0.730974),
    *(0.687244, 0.638240, 0.582948, 0.520074, 0.447944, 0.364352, 0.266330, 0.149787, 0.008929, 0),
)  # the reference's levels, to six digits


def test_twenty_steps_have_the_references_levels() -> None:
    torch.testing.assert_close(twice_shifted_sigmas(20), torch.tensor(REFERENCE_20), rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 30, 50])
@pytest.mark.parametrize("shift", [3.0, 1.5])
def test_levels_are_those_of_diffusers_heun_scheduler(steps: int, shift: float) -> None:
    scheduler = FlowMatchHeunDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    each_once = torch.unique(scheduler.sigmas).flip(0)
    torch.testing.assert_close(twice_shifted_sigmas(steps, shift), each_once, rtol=0, atol=1e-6)
    assert evaluations(twice_shifted_sigmas(steps, shift)) == len(scheduler.timesteps)


def test_a_whole_drawing_takes_39_evaluations_and_one_of_strength_95_percent_37() -> None:
    sigmas = twice_shifted_sigmas(20)
    assert evaluations(sigmas) == 39
    begin = first_step(20, 0.95)
    assert begin == 1
    assert evaluations(sigmas[begin:]) == 37
    assert float(sigmas[begin]) == pytest.approx(0.981875, abs=1e-6)


def test_strength_chooses_the_step() -> None:
    assert [first_step(20, strength) for strength in (0.0, 0.3, 0.5, 0.8)] == [20, 14, 10, 4]


@pytest.mark.parametrize("steps", [2, 20, 30])
def test_the_greatest_strength_still_starts_below_pure_noise(steps: int) -> None:
    assert float(twice_shifted_sigmas(steps)[first_step(steps, 1.0)]) < 1
    assert evaluations(twice_shifted_sigmas(steps)[first_step(steps, 0.0) :]) == 0
