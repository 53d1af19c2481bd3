"""The times of the flows against the scheduler that the published folder names."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.pixal3d.direct3d_s2.sampling import TwiceShiftedSampling, published_sampling
from bundle3d.pipelines.pixal3d.sampler import sample_flow
from diffusers import FlowMatchEulerDiscreteScheduler


@pytest.mark.parametrize(("stage", "steps", "shift"), [("structure", 50, 6.0), ("coarse", 30, 6.0), ("fine", 15, 8.0)])
def test_times_are_those_of_the_scheduler(stage: str, steps: int, shift: float) -> None:
    sampling = published_sampling(stage, shift)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    scheduler.set_timesteps(steps)
    assert sampling.steps == steps
    assert sampling.times() == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)
    assert [1000 * time for time in sampling.times()[:-1]] == pytest.approx(scheduler.timesteps.tolist(), abs=1e-3)
    assert sampling.evaluations() == 2 * steps


def test_a_step_is_the_scheduler_s_with_guidance_of_both_answers() -> None:
    sampling = TwiceShiftedSampling(3, 7.0, rescale=0.0, interval=(0.0, 1.0), shift=6.0)
    noise = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        return state.sin() * (time + 1) if conditioned else state.cos()

    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=6.0)
    scheduler.set_timesteps(3)
    state = noise
    for timestep in scheduler.timesteps:
        with_, without = velocity(state, float(timestep) / 1000, True), velocity(state, float(timestep) / 1000, False)
        state = scheduler.step(without + 7.0 * (with_ - without), timestep, state).prev_sample
    torch.testing.assert_close(sample_flow(velocity, noise, sampling, [5]), state, atol=1e-5, rtol=1e-5)
