from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.sampler import sample_heun
from bundle3d.pipelines.diffusion.schedule import twice_shifted_sigmas
from bundle3d.pipelines.progress import Preview
from diffusers import FlowMatchHeunDiscreteScheduler

NOISE = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(0))


class CancelledError(Exception):
    pass


def test_straight_flow_ends_at_the_picture_in_any_number_of_steps() -> None:
    picture = torch.linspace(-1, 1, NOISE.numel()).reshape(NOISE.shape)
    for steps in (1, 3, 20):
        end = sample_heun(lambda x, sigma, _: (x - picture) / sigma, NOISE, twice_shifted_sigmas(steps))
        torch.testing.assert_close(end, picture, rtol=0, atol=1e-5)


def test_error_of_a_curved_flow_falls_with_the_square_of_the_step() -> None:
    # dx/dsigma = x has the solution x(0) = x(1) / e; levels stop short of 0, because the last step is Euler's
    def error(steps: int) -> float:
        levels = torch.linspace(1, 1e-9, steps + 1)
        end = sample_heun(lambda x, sigma, _: x, NOISE, levels)
        return float((end - NOISE / torch.e).abs().max())

    assert error(10) / error(20) == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_steps_are_those_of_diffusers_heun_scheduler(start: int) -> None:
    def velocity(x: torch.Tensor, sigma: float, index: int) -> torch.Tensor:
        return torch.sin(3 * x) + sigma * x.roll(1, -1)

    scheduler = FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(20)
    scheduler.set_begin_index(2 * start)
    expected = NOISE
    for index, timestep in enumerate(scheduler.timesteps[2 * start :]):
        flow = velocity(expected, float(timestep) / 1000, index)
        expected = scheduler.step(flow, timestep, expected, return_dict=False)[0]
    torch.testing.assert_close(
        sample_heun(velocity, NOISE, twice_shifted_sigmas(20)[start:]), expected, rtol=0, atol=2e-5
    )


def test_evaluations_are_numbered_and_reported() -> None:
    indices: list[int] = []
    reports: list[tuple[int, int]] = []

    def velocity(x: torch.Tensor, sigma: float, index: int) -> torch.Tensor:
        indices.append(index)
        return x

    sample_heun(
        velocity, NOISE, twice_shifted_sigmas(20), lambda done, total, preview=None: reports.append((done, total))
    )
    assert indices == list(range(39))
    assert reports == [(done, 39) for done in range(40)]


def test_preview_shows_the_clean_picture_that_the_model_foresees() -> None:
    picture = torch.linspace(-1, 1, NOISE.numel()).reshape(NOISE.shape)
    previews: list[torch.Tensor] = []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            previews.append(preview())

    sample_heun(
        lambda x, sigma, _: (x - picture) / sigma, NOISE, twice_shifted_sigmas(4), progress, lambda clean: clean
    )
    assert len(previews) == 7
    for shown in previews:
        torch.testing.assert_close(shown, picture, rtol=0, atol=1e-5)


def test_cancel_stops_before_the_next_evaluation() -> None:
    indices: list[int] = []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if done == 5:
            raise CancelledError

    def velocity(x: torch.Tensor, sigma: float, index: int) -> torch.Tensor:
        indices.append(index)
        return x

    with pytest.raises(CancelledError):
        sample_heun(velocity, NOISE, twice_shifted_sigmas(20), progress)
    assert indices == list(range(5))


def test_nothing_is_left_to_do_at_level_zero() -> None:
    torch.testing.assert_close(sample_heun(lambda *_: pytest.fail("evaluated"), NOISE, torch.zeros(1)), NOISE)
