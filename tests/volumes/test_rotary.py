from __future__ import annotations

import cmath

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.rotary import rotary_phases, rotate
from hypothesis import given, settings
from hypothesis import strategies as st


def positions(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 96, (count, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


@settings(deadline=None, max_examples=20)
@given(pairs=st.integers(3, 70), seed=st.integers(0, 99))
def test_phases_are_those_of_the_formula(pairs: int, seed: int) -> None:
    coords = positions(4, seed)
    found = torch.view_as_complex(rotary_phases(coords, 2 * pairs))
    each = pairs // 3
    for row, position in enumerate(coords.tolist()):
        expected = [cmath.exp(1j * at * 10000 ** (-i / each)) for at in position for i in range(each)]
        expected += [1.0] * (pairs - 3 * each)
        assert torch.allclose(found[row], torch.tensor(expected, dtype=torch.complex64), atol=2e-5)


def test_heads_of_128_channels_have_21_frequencies_an_axis() -> None:
    phases = rotary_phases(torch.tensor([[1, 2, 3]]), 128)
    assert phases.shape == (1, 64, 2)
    assert torch.allclose(phases[0, (0, 21, 42), 0], torch.tensor([1.0, 2.0, 3.0]).cos())
    assert phases[0, 63].tolist() == [1.0, 0.0]


def test_adjacent_channels_turn_as_complex_numbers() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(5, 2, 16, generator=generator, dtype=torch.float64)
    phases = rotary_phases(positions(5), 16).double()
    expected = torch.view_as_complex(x.reshape(5, 2, 8, 2)) * torch.view_as_complex(phases)[:, None]
    assert torch.allclose(rotate(x, phases), torch.view_as_real(expected).flatten(-2))


def test_scores_depend_on_the_difference_of_positions_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    query, key = (torch.randn(1, 1, 64, generator=generator).expand(30, 1, 64) for _ in range(2))
    places, shift = positions(30), torch.tensor([3, 7, -5])
    scores = (rotate(query, rotary_phases(places, 64)) * rotate(key, rotary_phases(places + shift, 64))).sum(-1)
    assert torch.allclose(scores, scores[:1].expand_as(scores), atol=1e-3)
    assert not torch.allclose(scores[0], (query[0] * key[0]).sum(), atol=1e-1)


def test_half_precision_is_turned_in_single() -> None:
    x = torch.randn(40, 2, 32, generator=torch.Generator().manual_seed(5)).bfloat16()
    phases = rotary_phases(positions(40), 32)
    found = rotate(x, phases)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, rotate(x.float(), phases).bfloat16())


def test_turning_has_gradients() -> None:
    x = torch.randn(3, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(6), requires_grad=True)
    phases = rotary_phases(positions(3), 8)
    assert torch.autograd.gradcheck(lambda part: rotate(part, phases), (x,))


def test_refusals() -> None:
    with pytest.raises(Bundle3DError, match="drop the batch item"):
        rotary_phases(torch.zeros(3, 4), 128)
    with pytest.raises(Bundle3DError, match="other heads"):
        rotary_phases(torch.zeros(3, 3), 7)
    with pytest.raises(Bundle3DError, match="these voxels"):
        rotate(torch.zeros(3, 2, 8), rotary_phases(torch.zeros(2, 3), 8))
