from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.requantise import cascade_coords, occupied_coords, requantise
from bundle3d.tests.volumes.voxels import random_voxels
from hypothesis import given, settings
from hypothesis import strategies as st

LATTICES = (64, 72, 80, 88, 96)


def diagonal(source: int) -> torch.Tensor:
    """Every cell along the diagonal of ``source``^3."""
    index = torch.arange(source, dtype=torch.int32)[:, None]
    return torch.cat((torch.zeros_like(index), index, index, index), dim=1)


@pytest.mark.parametrize("target", LATTICES)
def test_cells_go_to_the_nearest_point_halves_to_the_even(target: int) -> None:
    """In exact fractions, whose rounding is to the even as well."""
    for cell in range(512):
        coords = torch.tensor([[0, cell, 511 - cell, 0]], dtype=torch.int32)
        expected = [round(Fraction(2 * at + 1, 1024) * (target - 1)) for at in (cell, 511 - cell, 0)]
        assert requantise(coords, 512, target).tolist() == [[0, *expected]]


@pytest.mark.parametrize(("target", "last"), list(zip(LATTICES, (4, 4, 3, 3, 3))))
def test_every_point_is_reached_and_the_end_ones_from_few_cells(target: int, last: int) -> None:
    found = requantise(diagonal(512), 512, target)
    assert found[:, 1].tolist() == list(range(target))
    ends = [int(requantise(diagonal(512)[i : i + 1], 512, target)[0, 1] == 0) for i in range(8)]
    assert sum(ends) == last
    starts = [int(requantise(diagonal(512)[-i - 1 :][:1], 512, target)[0, 1] == target - 1) for i in range(8)]
    assert sum(starts) == last


def test_points_are_kept_once_for_each_batch_item() -> None:
    coords = random_voxels(32, 0.1, items=3)
    found = requantise(coords, 32, 4)
    assert torch.equal(found, torch.unique(found, dim=0))
    assert found[:, 0].unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize(("fits", "expected"), [(96, 1536), (88, 1408), (80, 1280), (72, 1152), (64, 1024), (10, 1024)])
def test_the_resolution_is_lowered_until_the_tokens_fit(fits: int, expected: int) -> None:
    """The diagonal has as many tokens as the lattice is wide, and must have fewer than the limit."""
    found, resolution = cascade_coords(diagonal(512), 512, 1536, most_tokens=fits + 1)
    assert resolution == expected
    assert found.shape[0] == expected // 16
    assert torch.equal(found, requantise(diagonal(512), 512, expected // 16))


def test_as_many_tokens_as_the_limit_are_too_many() -> None:
    assert cascade_coords(diagonal(512), 512, 1536, most_tokens=96)[1] == 1408


def test_the_least_resolution_ignores_the_limit() -> None:
    found, resolution = cascade_coords(diagonal(512), 512, 1024, most_tokens=1)
    assert resolution == 1024 and found.shape[0] == 64


def test_no_resolution_is_lowered_below_the_least() -> None:
    assert cascade_coords(diagonal(512), 512, 1088, most_tokens=1)[1] == 1024


@settings(deadline=None, max_examples=20)
@given(share=st.floats(0.001, 0.2), seed=st.integers(0, 99))
def test_a_voxel_is_occupied_where_any_of_its_cells_is(share: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.where(torch.rand(2, 1, 16, 16, 16, generator=generator) < share, 0.5, -0.5)
    logits[:, 0, 5, 6, 7] = 1.0
    found = occupied_coords(logits, 8)
    cells = (logits[:, 0] > 0).nonzero()
    cells[:, 1:] //= 2
    assert found.dtype == torch.int32
    assert torch.equal(found, torch.unique(cells, dim=0).int())


def test_zero_is_not_occupied() -> None:
    logits = torch.zeros(1, 1, 4, 4, 4)
    logits[0, 0, 3, 2, 1] = 1e-6
    assert occupied_coords(logits, 2).tolist() == [[0, 1, 1, 0]]
    assert occupied_coords(logits, 4).tolist() == [[0, 3, 2, 1]]


def test_refusals() -> None:
    logits = torch.ones(2, 1, 8, 8, 8)
    logits[1] = -1.0
    with pytest.raises(Bundle3DError, match="number 2 of 2 is empty"):
        occupied_coords(logits, 4)
    with pytest.raises(Bundle3DError, match="multiple of 3"):
        occupied_coords(logits, 3)
    with pytest.raises(Bundle3DError, match="B, 1, S, S, S"):
        occupied_coords(logits[:, 0], 4)
