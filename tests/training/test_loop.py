"""The training loop: it learns, goes on after a break as if there had been none, and says what went wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.loop import LOG, STATE, LoopOptions, train
from bundle3d.pipelines.training.plain_attention import PlainAttention
from torch.nn.functional import scaled_dot_product_attention

OPTIONS = LoopOptions(steps=30, learning_rate=0.05, warmup=2, average=0.5, log_every=5, save_every=10)


def model() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


def loss_of(module: torch.nn.Module):  # type: ignore[no-untyped-def]
    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(16, 3, generator=generator)
        return (module(x) - x.sum(1, keepdim=True)).square().mean()

    return loss


def test_the_loss_falls_and_is_logged(tmp_path: Path) -> None:
    module = model()
    average = train(module, loss_of(module), tmp_path, OPTIONS)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]
    assert set(average) == {"weight", "bias"}


def test_a_broken_off_run_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    whole = model()
    expected = train(whole, loss_of(whole), tmp_path / "whole", OPTIONS)

    def stop(done: int, total: int, preview: object = None) -> None:
        if done == 17:
            raise KeyboardInterrupt

    broken = model()
    with pytest.raises(KeyboardInterrupt):
        train(broken, loss_of(broken), tmp_path / "broken", OPTIONS, progress=stop)
    again = model()
    average = train(again, loss_of(again), tmp_path / "broken", OPTIONS)
    assert torch.equal(again.weight, whole.weight)
    assert all(torch.equal(average[name], expected[name]) for name in expected)


def test_what_was_logged_after_the_state_is_logged_once(tmp_path: Path) -> None:
    module = model()
    train(module, loss_of(module), tmp_path, replace(OPTIONS, steps=20))
    log = tmp_path / LOG
    log.write_text(log.read_text(encoding="utf-8") + '{"step": 25, "loss": 1.0}\n{"step": 3', encoding="utf-8")
    train(module, loss_of(module), tmp_path, OPTIONS)
    assert [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()] == [
        5,
        10,
        15,
        20,
        25,
        30,
    ]


def test_without_an_average_none_is_kept(tmp_path: Path) -> None:
    module = model()
    assert train(module, loss_of(module), tmp_path, replace(OPTIONS, average=0.0, steps=20)) == {}
    assert torch.load(tmp_path / STATE)["average"] == {}
    before = module.weight.clone()
    train(module, loss_of(module), tmp_path, replace(OPTIONS, average=0.0))
    assert not torch.equal(before, module.weight)


def test_a_loss_that_is_not_finite_and_a_foreign_state_are_refused(tmp_path: Path) -> None:
    module = model()
    with pytest.raises(Bundle3DError, match="no longer finite"):
        train(module, lambda step, generator: module.weight.sum() * float("nan"), tmp_path, OPTIONS)
    assert torch.isfinite(module.weight).all() and not (tmp_path / STATE).is_file()
    module = model()
    train(module, loss_of(module), tmp_path / "run", LoopOptions(steps=1, learning_rate=0.1))
    assert (tmp_path / "run" / STATE).is_file()
    other = torch.nn.Linear(4, 1)
    with pytest.raises(Bundle3DError, match="another model"):
        train(other, loss_of(other), tmp_path / "run", OPTIONS)


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [OPTIONS.rate(step) for step in range(OPTIONS.steps + 1)]
    assert rates[0] == pytest.approx(0.025) and max(rates) == pytest.approx(rates[1])
    assert rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_plain_attention_is_attention() -> None:
    torch.manual_seed(1)
    query, key, value = (torch.randn(2, 3, 5, 8) for _ in range(3))
    mask = torch.rand(5, 5) > 0.3
    expected = scaled_dot_product_attention(query, key, value)
    masked = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    with PlainAttention():
        assert torch.allclose(scaled_dot_product_attention(query, key=key, value=value), expected, atol=1e-6)
        assert torch.equal(scaled_dot_product_attention(query, key, value, attn_mask=mask), masked)
