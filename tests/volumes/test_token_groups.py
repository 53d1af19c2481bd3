"""Groups of voxels and attention within them, against one token at a time."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.volumes.token_groups import TokenGroups, cubes, group_attention, groups_of

GENERATOR = torch.Generator().manual_seed(0)
COORDS = torch.unique(torch.randint(0, 21, (150, 3), generator=GENERATOR, dtype=torch.int32), dim=0)[
    torch.randperm(140, generator=GENERATOR)
]


@pytest.mark.parametrize("shift", [0, 4])
def test_cubes_hold_the_voxels_that_lie_in_them(shift: int) -> None:
    found, cube = cubes(COORDS, 8, shift)
    for place, number in zip(COORDS.tolist(), cube.tolist()):
        assert found[number].tolist() == [(axis + shift) // 8 for axis in place]
    expected = {tuple((axis + shift) // 8 for axis in place) for place in COORDS.tolist()}
    assert [tuple(one) for one in found.tolist()] == sorted(expected)


def test_groups_are_the_tokens_of_each_cube() -> None:
    _, cube = cubes(COORDS, 8)
    groups = groups_of(cube)
    assert sorted(groups.order.tolist()) == list(range(len(COORDS)))
    for number, (start, length) in enumerate(zip(groups.starts.tolist(), groups.lengths.tolist())):
        own = groups.order[start : start + length].tolist()
        assert own == [row for row in range(len(COORDS)) if int(cube[row]) == number]


def test_groups_are_padded_to_the_least_power_of_two() -> None:
    lengths = torch.tensor([1, 2, 3, 4, 5, 8, 9, 512, 513])
    groups = TokenGroups(torch.randperm(int(lengths.sum()), generator=GENERATOR), lengths)
    own = [tuple(tokens.tolist()) for tokens in groups.order.split(lengths.tolist())]
    sizes = {}
    for rows, present in groups.padded:
        for tokens, there in zip(rows, present):
            assert bool((tokens[~there] == tokens[there][-1]).all())
            sizes[tuple(tokens[there].tolist())] = len(tokens)
    assert [sizes[tokens] for tokens in own] == [1, 2, 4, 4, 8, 8, 16, 512, 1024]
    assert groups.longest == 513


@pytest.mark.parametrize("scores", [1, 5000, 1 << 26])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_tokens_see_those_of_their_group_alone(key_heads: int, scores: int) -> None:
    _, cube = cubes(COORDS, 8, 4)
    query = torch.randn(len(COORDS), 4, 6, generator=GENERATOR, dtype=torch.float64)
    key, value = torch.randn(2, len(COORDS), key_heads, 6, generator=GENERATOR, dtype=torch.float64)
    found = group_attention(query, key, value, groups_of(cube), scores)
    for row in range(len(COORDS)):
        others = [other for other in range(len(COORDS)) if int(cube[other]) == int(cube[row])]
        for head in range(4):
            own = head * key_heads // 4
            weights = [math.exp(float(query[row, head] @ key[other, own]) / math.sqrt(6)) for other in others]
            seen = sum(weight * value[other, own] for weight, other in zip(weights, others)) / sum(weights)
            torch.testing.assert_close(found[row, head], seen, atol=1e-10, rtol=1e-10)
