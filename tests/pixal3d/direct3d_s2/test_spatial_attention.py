"""Spatial sparse attention where it is the same as something simpler."""

from __future__ import annotations

import torch
from bundle3d.pipelines.pixal3d.direct3d_s2.spatial_attention import cube_means, merged_attention, selected_attention
from bundle3d.pipelines.volumes.token_groups import TokenGroups, cubes, groups_of
from bundle3d.tests.pixal3d.direct3d_s2.make_small import random_places
from torch.nn import functional

GENERATOR = torch.Generator().manual_seed(1)
PLACES = random_places(120, 10)
QUERY = torch.randn(120, 4, 8, generator=GENERATOR, dtype=torch.float64)
KEY, VALUE = torch.randn(2, 120, 2, 8, generator=GENERATOR, dtype=torch.float64)


def groups() -> TokenGroups:
    return groups_of(cubes(PLACES, 4)[1])


def full_attention() -> torch.Tensor:
    key, value = (part.repeat_interleave(2, dim=1).transpose(0, 1) for part in (KEY, VALUE))
    return functional.scaled_dot_product_attention(QUERY.transpose(0, 1), key, value).transpose(0, 1)


def test_all_cubes_selected_are_full_attention() -> None:
    count = len(groups().lengths)
    everything = torch.stack([torch.randperm(count, generator=GENERATOR) for _ in range(240)]).reshape(120, 2, count)
    for scores in (1, 4000, 1 << 26):
        found = selected_attention(QUERY, KEY, VALUE, groups(), everything, scores)
        torch.testing.assert_close(found, full_attention(), atol=1e-10, rtol=1e-10)


def test_keys_that_stand_for_themselves_are_full_attention() -> None:
    _, cube = cubes(PLACES, 4)
    pieces = [merged_attention(QUERY, KEY, VALUE, cube, 3, scores) for scores in (1, 4000, 1 << 26)]
    for attended, best in pieces:
        torch.testing.assert_close(attended, full_attention(), atol=1e-10, rtol=1e-10)
        assert torch.equal(best, pieces[0][1])
    assert pieces[0][1].shape == (120, 2, 3)


def test_the_best_cube_is_that_of_a_key_that_everything_looks_at() -> None:
    key = torch.zeros(120, 2, 8, dtype=torch.float64)
    key[17] = 100 * QUERY[5].unflatten(0, (2, 2)).sum(1)
    _, cube = cubes(PLACES, 4)
    _, best = merged_attention(QUERY[5:6], key, VALUE, cube, 1)
    assert best.tolist() == [[[int(cube[17])], [int(cube[17])]]]


def test_no_more_cubes_are_selected_than_there_are() -> None:
    _, cube = cubes(PLACES, 4)
    count = int(cube.max()) + 1
    _, best = merged_attention(QUERY, KEY, VALUE, cube, 1000)
    assert best.sort(-1).values.tolist() == torch.arange(count).expand(120, 2, count).tolist()


def test_means_count_the_zero_that_they_start_from() -> None:
    features = torch.tensor([[2.0], [4.0], [9.0]])
    assert cube_means(features, torch.tensor([0, 0, 1])).tolist() == [[2.0], [4.5]]
    # as torch's own reduction does, with which the published networks were trained
    index = torch.tensor([[0], [0], [1]])
    assert torch.zeros(2, 1).scatter_reduce(0, index, features, "mean").tolist() == [[2.0], [4.5]]
