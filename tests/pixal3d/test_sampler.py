"""Times, counts and guidance of the sampler against the numbers of the specification and flows solved by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.normalisation import SHAPE_NORMALISATION, TEXTURE_NORMALISATION, Normalisation
from bundle3d.pipelines.pixal3d.sampler import SHAPE, STRUCTURE, TEXTURE, Sampling, deviations, sample_flow
from bundle3d.pipelines.progress import Preview

NOISE = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
LENGTHS = [20, 10]


def test_times_are_those_of_the_specification() -> None:
    five = [1, 0.982143, 0.961538, 0.9375, 0.909091, 0.875, 0.833333, 0.78125, 0.714286, 0.625, 0.5, 0.3125, 0]
    three = [1, 0.970588, 0.9375, 0.9, 0.857143, 0.807692, 0.75, 0.681818, 0.6, 0.5, 0.375, 0.214286, 0]
    assert STRUCTURE.times() == pytest.approx(five, abs=5e-7)
    assert SHAPE.times() == TEXTURE.times() == pytest.approx(three, abs=5e-7)


def test_guidance_is_that_of_the_specification() -> None:
    assert Sampling(12, 7.5, 0.7, (0.6, 1.0), 5.0, 1e-5) == STRUCTURE
    assert Sampling(12, 7.5, 0.5, (0.6, 1.0), 3.0, 1e-5) == SHAPE
    assert Sampling(12, 1.0, 0.0, (0.6, 0.9), 3.0, 1e-5) == TEXTURE


@pytest.mark.parametrize(
    ("values", "total", "weighted"),
    [
        (SHAPE_NORMALISATION.mean, -1.419879, -38.933594),
        (SHAPE_NORMALISATION.std, 170.747668, 2847.15642),
        (TEXTURE_NORMALISATION.mean, 11.237062, 113.76431),
        (TEXTURE_NORMALISATION.std, 86.627503, 1431.294323),
    ],
)
def test_latents_are_normalised_by_the_numbers_of_the_specification(
    values: tuple[float, ...], total: float, weighted: float
) -> None:
    """Their sum, and their sum each times its place, counted from 1."""
    assert len(values) == 32 and sum(values) == pytest.approx(total, abs=1e-6)
    assert sum(place * value for place, value in enumerate(values, 1)) == pytest.approx(weighted, abs=1e-5)


@pytest.mark.parametrize(("sampling", "count"), [(STRUCTURE, 22), (SHAPE, 21), (TEXTURE, 12)])
def test_the_model_is_asked_as_often_as_published(sampling: Sampling, count: int) -> None:
    asked, reports = [], []

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        asked.append((time, conditioned))
        return torch.zeros_like(state)

    sample_flow(
        velocity, NOISE, sampling, LENGTHS, progress=lambda done, total, preview=None: reports.append((done, total))
    )
    assert len(asked) == sampling.evaluations() == count
    assert [time for time, conditioned in asked if conditioned] == sampling.times()[:-1]
    assert reports == [(done, count) for done in range(count + 1)]


def test_guidance_ends_on_the_step_at_its_limit() -> None:
    assert SHAPE.times()[8] == 0.6 and SHAPE.guided(SHAPE.times()[8]) and not SHAPE.guided(SHAPE.times()[9])


@pytest.mark.parametrize("sampling", [STRUCTURE, SHAPE, TEXTURE])
def test_a_straight_flow_is_followed_to_its_end(sampling: Sampling) -> None:
    goal = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    found = sample_flow(lambda state, time, conditioned: NOISE - goal, NOISE, sampling, LENGTHS)
    torch.testing.assert_close(found, goal, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sampling", [STRUCTURE, TEXTURE])
def test_every_step_shows_where_the_flow_leads(sampling: Sampling) -> None:
    goal = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    shown, pictures = [], []

    def progress(done: int, total: int, preview: Preview | None = None) -> None:
        if preview is not None:
            pictures.append(preview())

    def picture(foreseen: torch.Tensor) -> torch.Tensor:
        shown.append(foreseen)
        return foreseen[:3]

    flow = NOISE - goal
    found = sample_flow(lambda *_: flow, NOISE, sampling, LENGTHS, progress=progress, picture=picture)
    assert len(shown) == sampling.steps and torch.equal(pictures[-1], shown[-1][:3])
    for foreseen in shown:
        torch.testing.assert_close(foreseen, goal, atol=1e-4, rtol=1e-4)
    assert torch.equal(found, sample_flow(lambda *_: flow, NOISE, sampling, LENGTHS))


def test_equal_answers_make_guidance_and_rescale_idle() -> None:
    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        return state * time + 0.3

    guided = sample_flow(velocity, NOISE, SHAPE, LENGTHS)
    torch.testing.assert_close(guided, sample_flow(velocity, NOISE, TEXTURE, LENGTHS), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dense", [True, False])
def test_a_guided_step_is_what_the_formula_says(dense: bool) -> None:
    with_pictures = torch.randn(30, 4, generator=torch.Generator().manual_seed(2))
    without = torch.randn(30, 4, generator=torch.Generator().manual_seed(3))
    sampling = Sampling(steps=1, guidance=3.0, rescale=0.7, interval=(0.5, 1.0))
    found = sample_flow(
        lambda state, time, conditioned: with_pictures if conditioned else without, NOISE, sampling, LENGTHS, dense
    )
    sigma, start = 1e-5, 0
    for length in LENGTHS:
        x, plus, minus = (part[start : start + length].double() for part in (NOISE, with_pictures, without))
        start += length
        v = 3 * plus - 2 * minus
        first, clean = ((1 - sigma) * x - (sigma + (1 - sigma) * 1.0) * flow for flow in (plus, v))
        divisor = x.numel() - 1 if dense else x.numel()
        deviation = [((part - part.mean()) ** 2).sum().div(divisor).sqrt() for part in (first, clean)]
        clean = 0.7 * clean * deviation[0] / deviation[1] + 0.3 * clean
        v = ((1 - sigma) * x - clean) / (sigma + (1 - sigma) * 1.0)
        torch.testing.assert_close(found[start - length : start].double(), x - v, atol=1e-5, rtol=1e-5)


def test_deviations_belong_to_their_objects() -> None:
    found = deviations(torch.cat((NOISE[:20], 3 * NOISE[20:])), LENGTHS, dense=False)
    assert found.shape == (30, 1) and torch.all(found[:20] == found[0])
    assert float(found[-1]) == pytest.approx(3 * float(NOISE[20:].std(correction=0)), rel=1e-6)


def test_a_cancelled_run_ends_where_it_is_told() -> None:
    asked = []

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        asked.append(time)
        return state

    def cancel(done: int, total: int, preview: object = None) -> None:
        if done == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample_flow(velocity, NOISE, SHAPE, LENGTHS, progress=cancel)
    assert len(asked) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"guidance": float("nan")}, {"rescale": 1.5}, {"interval": (0.9, 0.6)}, {"shift": 0.0}],
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Bundle3DError, match="choose"):
        replace(SHAPE, **wrong)


def test_latents_come_back_from_their_normalisation() -> None:
    for normalisation in (SHAPE_NORMALISATION, TEXTURE_NORMALISATION):
        drawn = torch.randn(7, 32, generator=torch.Generator().manual_seed(4))
        latents = normalisation.latents(drawn)
        torch.testing.assert_close(normalisation.drawn(latents), drawn)
        assert torch.equal(latents[0], drawn[0] * torch.tensor(normalisation.std) + torch.tensor(normalisation.mean))


def test_a_normalisation_of_other_channels_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="32 channels"):
        SHAPE_NORMALISATION.latents(torch.zeros(3, 8))
    with pytest.raises(Bundle3DError, match="as many means"):
        Normalisation((0.0,), (1.0, 2.0))
