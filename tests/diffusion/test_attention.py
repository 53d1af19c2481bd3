from __future__ import annotations

import contextlib
import logging

import pytest
import torch
from bundle3d.pipelines.diffusion import attention as module
from diffusers.models import attention_dispatch


@pytest.fixture(autouse=True)
def forget() -> None:
    module.xformers_works.cache_clear()


def active() -> str:
    return str(attention_dispatch._AttentionBackendRegistry.get_active_backend()[0].value)


def test_torch_attends_on_the_cpu() -> None:
    before = active()
    with module.attention(torch.device("cpu")):
        assert active() == before


def test_torch_attends_where_xformers_does_not_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(attention_dispatch, "_CAN_USE_XFORMERS_ATTN", False)
    with caplog.at_level(logging.INFO):
        assert not module.xformers_works("cuda")
    assert "attention by torch" in caplog.text


def test_xformers_attends_where_it_works_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "xformers_works", lambda device_type: True)
    monkeypatch.setattr(attention_dispatch, "_CAN_USE_XFORMERS_ATTN", True)
    before = active()
    with module.attention(torch.device("cuda")):
        assert active() == "xformers"
    assert active() == before


def test_the_type_that_is_asked_for_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of half precision says nothing of the others."""

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if query.dtype != torch.float16:
            raise NotImplementedError("no operator")
        return query

    def zeros(*shape: int, device: str, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    monkeypatch.setattr(attention_dispatch, "attention_backend", lambda name: contextlib.nullcontext())
    monkeypatch.setattr(attention_dispatch, "dispatch_attention_fn", kernel)
    monkeypatch.setattr(module.torch, "zeros", zeros)
    assert module.xformers_works("cuda") and not module.xformers_works("cuda", torch.float32)
