"""Attention to windows of cells: brute force pixel by pixel, and some pixels against all."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d import window_attention
from bundle3d.pipelines.pixal3d.window_attention import attend_at, attend_everywhere
from bundle3d.tests.pixal3d.make_small import relative_error

HEADS = 2


def maps(size: int, cells: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(size + cells)
    shapes = ((8, size, size), (8, cells, cells), (6, cells, cells))
    first, second, third = (torch.randn(shape, generator=generator) for shape in shapes)
    return first, second, third


def brute_force(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(D, T, T), pixel by pixel and head by head: windows start at clamp(floor(Y / D) - 4, 0, n - 9)."""
    size, cells = queries.shape[-1], keys.shape[-1]
    queries, keys, values = (part.double().unflatten(0, (HEADS, -1)) for part in (queries, keys, values))
    out = torch.zeros(HEADS, values.shape[1], size, size, dtype=torch.float64)
    for y in range(size):
        for x in range(size):
            top, left = (min(max(place * cells // size - 4, 0), cells - 9) for place in (y, x))
            for head in range(HEADS):
                near = keys[head, :, top : top + 9, left : left + 9].flatten(1)
                scores = [float(queries[head, :, y, x] @ key) / math.sqrt(queries.shape[1]) for key in near.T]
                weights = torch.tensor([math.exp(score) for score in scores], dtype=torch.float64)
                out[head, :, y, x] = values[head, :, top : top + 9, left : left + 9].flatten(1) @ (
                    weights / weights.sum()
                )
    return out.flatten(0, 1)


@pytest.mark.parametrize(("size", "cells"), [(24, 12), (11, 11), (30, 10)])
def test_windows_are_those_of_brute_force(size: int, cells: int) -> None:
    queries, keys, values = maps(size, cells)
    assert relative_error(attend_everywhere(queries, keys, values, HEADS), brute_force(queries, keys, values)) < 1e-5


@pytest.mark.parametrize(("size", "cells"), [(48, 12), (12, 12), (16, 4)])
@pytest.mark.parametrize("budget", [1, 1 << 25])
def test_some_pixels_are_as_in_the_whole_map(
    size: int, cells: int, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window_attention, "BUDGET", budget)
    queries, keys, values = maps(size, cells)
    everywhere = attend_everywhere(queries, keys, values, HEADS).flatten(1).T
    pixels = torch.randperm(size * size, generator=torch.Generator().manual_seed(0))[:100]
    torch.testing.assert_close(
        attend_at(queries, pixels, keys, values, HEADS), everywhere[pixels], atol=1e-5, rtol=1e-5
    )
    assert attend_at(queries, pixels[:0], keys, values, HEADS).shape == (0, 6)


def test_all_cells_are_seen_where_a_map_is_narrower_than_a_window() -> None:
    queries, keys, _ = maps(16, 4)
    weights = attend_everywhere(queries, keys, torch.eye(16).reshape(16, 4, 4), heads=1)
    assert float(weights.min()) > 0
    torch.testing.assert_close(weights.sum(0), torch.ones(16, 16))


def test_sizes_that_do_not_divide_are_refused() -> None:
    queries, keys, values = maps(25, 12)
    with pytest.raises(Bundle3DError, match="multiple of their 12 cells a side, but got 25"):
        attend_everywhere(queries, keys, values, HEADS)
