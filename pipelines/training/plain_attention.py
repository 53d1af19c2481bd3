"""Attention as three plain operations, for training on a processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """While it is active, attention without mask runs as two matrix products and a softmax.

    Torch's fused attention runs backward several times slower than these on a processor, whose matrix units it does
    not use there.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function is scaled_dot_product_attention and _is_plain(args, kwargs):
            query, key, value = (*args, *(kwargs[name] for name in ("query", "key", "value")[len(args) :]))
            scale = kwargs.get("scale") or query.shape[-1] ** -0.5
            scores = (query * scale) @ key.transpose(-1, -2)
            return scores.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
        return function(*args, **kwargs)


def _is_plain(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if len(args) > 3 or any(kwargs.get(name) for name in ("is_causal", "dropout_p", "enable_gqa")):
        return False
    return kwargs.get("attn_mask") is None
