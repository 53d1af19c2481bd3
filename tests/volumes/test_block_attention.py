from __future__ import annotations

import math
import sys
import types

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes import block_attention
from bundle3d.pipelines.volumes.block_attention import block_diagonal_attention
from bundle3d.tests.volumes.voxels import relative
from hypothesis import given, settings
from hypothesis import strategies as st

HEADS, CHANNELS = 3, 16


def tokens(queries: int, keys: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    counts = (queries, keys, keys)
    parts = [torch.randn(n, HEADS, CHANNELS, generator=generator, dtype=torch.float64) for n in counts]
    return tuple(part.to(dtype) for part in parts)


def masked_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, query_lengths: list[int], key_lengths: list[int]
) -> torch.Tensor:
    """All tokens against all in float64, under an explicit mask."""
    owner = torch.arange(len(query_lengths)).repeat_interleave(torch.tensor(query_lengths))
    key_owner = torch.arange(len(key_lengths)).repeat_interleave(torch.tensor(key_lengths))
    scores = torch.einsum("nhd,mhd->hnm", query.double(), key.double()) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(owner[:, None] != key_owner, -torch.inf)
    return torch.einsum("hnm,mhd->nhd", scores.softmax(-1), value.double())


@pytest.fixture(params=("fused", "chunked"))
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's fused kernel, and few queries at a time."""
    if request.param == "chunked":
        monkeypatch.setattr(block_attention, "_has_fused_kernel", lambda query, key, value: False)
        monkeypatch.setattr(block_attention, "SCORES", 100)


lengths = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4)


@pytest.mark.usefixtures("way")
@settings(deadline=None, max_examples=40)
@given(items=lengths, seed=st.integers(0, 99))
def test_items_see_their_own_keys_alone(items: list[tuple[int, int]], seed: int) -> None:
    query_lengths, key_lengths = [queries for queries, _ in items], [keys for _, keys in items]
    parts = tokens(sum(query_lengths), sum(key_lengths), seed)
    found = block_diagonal_attention(*parts, query_lengths, key_lengths)
    expected = masked_attention(*parts, query_lengths, key_lengths)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_an_item_is_as_it_is_alone() -> None:
    query, key, value = tokens(20, 30)
    key, value = key.clone(), value.clone()
    alone = block_diagonal_attention(query[8:], key[10:], value[10:], [12], [20])
    key[:10], value[:10] = float("nan"), float("inf")
    together = block_diagonal_attention(query, key, value, [8, 12], [10, 20])
    assert torch.allclose(together[8:], alone, atol=1e-6)
    assert together[:8].isnan().all()


@pytest.mark.usefixtures("way")
def test_the_order_of_keys_does_not_matter() -> None:
    query, key, value = tokens(7, 15)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(1))
    plain = block_diagonal_attention(query, key, value, [7], [15])
    shuffled = block_diagonal_attention(query, key[order], value[order], [7], [15])
    assert torch.allclose(plain, shuffled, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_gradients_are_those_of_the_mask() -> None:
    ours = [part.requires_grad_() for part in tokens(9, 11)]
    theirs = [part.detach().clone().requires_grad_() for part in ours]
    pull = torch.randn(9, HEADS, CHANNELS, generator=torch.Generator().manual_seed(2))
    block_diagonal_attention(*ours, [5, 4], [4, 7]).backward(pull)
    masked_attention(*theirs, [5, 4], [4, 7]).backward(pull.double())
    for one, other in zip(ours, theirs):
        assert one.grad is not None and other.grad is not None
        assert relative(one.grad, other.grad) < 1e-5


@pytest.mark.usefixtures("way")
def test_half_precision_keeps_its_type() -> None:
    parts = tokens(40, 50, dtype=torch.bfloat16)
    found = block_diagonal_attention(*parts, [10, 30], [20, 30])
    assert found.dtype == torch.bfloat16
    assert relative(found, masked_attention(*parts, [10, 30], [20, 30])) < 0.02


def test_no_tokens_make_none() -> None:
    assert block_diagonal_attention(*tokens(0, 5), [0], [5]).shape == (0, HEADS, CHANNELS)
    assert block_diagonal_attention(*tokens(0, 0), [], []).shape == (0, HEADS, CHANNELS)


def test_xformers_is_not_asked_for_on_the_cpu() -> None:
    assert not block_attention.xformers_works("cpu", torch.float32)


def test_xformers_is_given_all_items_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its interface, played by the explicit mask."""
    calls: list[tuple[list[int], list[int]]] = []

    class BlockDiagonalMask:
        @staticmethod
        def from_seqlens(query_lengths: list[int], key_lengths: list[int]) -> tuple[list[int], list[int]]:
            calls.append((query_lengths, key_lengths))
            return query_lengths, key_lengths

    def memory_efficient_attention(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attn_bias: tuple[list[int], list[int]]
    ) -> torch.Tensor:
        return masked_attention(query[0], key[0], value[0], *attn_bias)[None].float()

    ops = types.ModuleType("xformers.ops")
    ops.__dict__.update(
        memory_efficient_attention=memory_efficient_attention,
        fmha=types.SimpleNamespace(BlockDiagonalMask=BlockDiagonalMask),
    )
    monkeypatch.setitem(sys.modules, "xformers", types.ModuleType("xformers"))
    monkeypatch.setitem(sys.modules, "xformers.ops", ops)
    monkeypatch.setattr(block_attention, "xformers_works", lambda device_type, dtype: True)
    parts = tokens(9, 12)
    found = block_diagonal_attention(*parts, [4, 5], [10, 2])
    assert calls == [([4, 5], [10, 2])]
    assert torch.allclose(found.double(), masked_attention(*parts, [4, 5], [10, 2]), atol=1e-6)
    # items without queries would shift those after them
    assert block_diagonal_attention(*parts, [9, 0], [10, 2]).shape == (9, HEADS, CHANNELS)
    assert len(calls) == 1


def test_refusals() -> None:
    query, key, value = tokens(4, 6)
    with pytest.raises(Bundle3DError, match="check the heads"):
        block_diagonal_attention(query, key[:, :2], value[:, :2], [4], [6])
    for query_lengths, key_lengths in (([4], [5]), ([3], [6]), ([2, 2], [6])):
        with pytest.raises(Bundle3DError, match="lengths of the same items"):
            block_diagonal_attention(query, key, value, query_lengths, key_lengths)
    with pytest.raises(Bundle3DError, match="leave such items out"):
        block_diagonal_attention(query, key, value, [2, 2], [6, 0])
