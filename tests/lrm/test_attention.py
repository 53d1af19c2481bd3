"""Attention against its formula, and the choice of the kernel."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from bundle3d.pipelines.lrm import attention as module
from bundle3d.pipelines.lrm.attention import attend

HEADS = 3


def inputs(width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, count, HEADS * width, generator=noise) for count in (5, 7, 7))


def by_formula(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Of (B, N, H, D) and (B, M, H, D)."""
    scores = torch.einsum("bnhd,bmhd->bhnm", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), value)


def expected(*tensors: torch.Tensor) -> torch.Tensor:
    return by_formula(*(tensor.unflatten(-1, (HEADS, -1)) for tensor in tensors)).flatten(-2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """xformers as if it were installed and worked; the shapes that it is given."""
    given: list[torch.Size] = []

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        given.append(query.shape)
        return by_formula(query, key, value)

    package, operators = ModuleType("xformers"), ModuleType("xformers.ops")
    operators.memory_efficient_attention = kernel
    monkeypatch.setitem(sys.modules, "xformers", package)
    monkeypatch.setitem(sys.modules, "xformers.ops", operators)
    monkeypatch.setattr(module, "xformers_works", lambda device_type, dtype: dtype == torch.float32)
    return given


def test_torch_attends_by_the_formula() -> None:
    torch.testing.assert_close(attend(*inputs(12), HEADS), expected(*inputs(12)))


def test_xformers_attends_where_it_works(calls: list[torch.Size]) -> None:
    torch.testing.assert_close(attend(*inputs(16), HEADS), expected(*inputs(16)))
    assert calls == [(2, 5, HEADS, 16)]


def test_torch_attends_where_heads_do_not_suit_xformers(calls: list[torch.Size]) -> None:
    torch.testing.assert_close(attend(*inputs(12), HEADS), expected(*inputs(12)))
    assert calls == []


def test_torch_attends_in_a_type_that_xformers_does_not_compute_in(calls: list[torch.Size]) -> None:
    double = [tensor.double() for tensor in inputs(16)]
    torch.testing.assert_close(attend(*double, HEADS), expected(*double))
    assert calls == []
