"""Attention within every item of a batch whose items have different numbers of tokens."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence

import torch

from ..errors import Bundle3DError

logger = logging.getLogger(__name__)

SCORES = 1 << 26  # attention scores that are held at once where no fused kernel computes them


def block_diagonal_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_lengths: Sequence[int],
    key_lengths: Sequence[int],
) -> torch.Tensor:
    """(N, H, D) attention of ``query`` (N, H, D) to ``key`` and ``value`` (M, H, D), each item to its own keys alone.

    The first ``query_lengths[0]`` queries see the first ``key_lengths[0]`` keys, and so on; scores are scaled by
    1 / sqrt(D). Computed by xformers where it is installed and works, else item by item: by torch's fused kernels, or
    some queries at a time where none fits.

    Raises Bundle3DError for tensors that do not fit together or the lengths, and for queries that have no keys.
    """
    _check(query, key, value, query_lengths, key_lengths)
    if all(query_lengths) and xformers_works(query.device.type, query.dtype):
        return _xformers_attention(query, key, value, query_lengths, key_lengths)
    parts = [
        _item_attention(q, k, v)
        for q, k, v in zip(
            query.split(list(query_lengths)), key.split(list(key_lengths)), value.split(list(key_lengths))
        )
        if q.shape[0]
    ]
    return torch.cat(parts) if parts else torch.empty_like(query)


def _check(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_lengths: Sequence[int],
    key_lengths: Sequence[int],
) -> None:
    if query.ndim != 3 or key.shape != value.shape or key.shape[1:] != query.shape[1:]:
        raise Bundle3DError(
            f"Expected queries (N, H, D) and keys and values (M, H, D), but got {tuple(query.shape)}, "
            f"{tuple(key.shape)} and {tuple(value.shape)}; check the heads."
        )
    found = (len(query_lengths), sum(query_lengths), sum(key_lengths))
    if found != (len(key_lengths), query.shape[0], key.shape[0]):
        raise Bundle3DError(
            f"Expected lengths of the same items that sum to {query.shape[0]} queries and {key.shape[0]} keys, but got "
            f"{list(query_lengths)} and {list(key_lengths)}; give the lengths of these tokens."
        )
    if any(queries and not keys for queries, keys in zip(query_lengths, key_lengths)):
        raise Bundle3DError(
            f"Expected keys for every item that has queries, but got lengths {list(query_lengths)} and "
            f"{list(key_lengths)}; leave such items out."
        )


def _item_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(n, H, D) attention of all queries (n, H, D) to all keys and values (m, H, D)."""
    q, k, v = (part.transpose(0, 1)[None] for part in (query, key, value))
    if _has_fused_kernel(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)[0].transpose(0, 1)
    return _chunked_attention(query, key, value)


def _has_fused_kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether torch's attention holds no full matrix of scores for these (1, H, n, D).

    Metal's own kernel errs beyond some 18 thousand keys (specs/pixal3d.md section 3.1), so that it counts as none.
    """
    if query.device.type == "cuda":
        cuda = torch.backends.cuda
        parameters = cuda.SDPAParams(query, key, value, None, 0.0, False, False)
        return cuda.can_use_flash_attention(parameters) or cuda.can_use_efficient_attention(parameters)
    return query.device.type == "cpu"


def _chunked_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(n, H, D) attention of all queries (n, H, D) to all keys and values (m, H, D), some queries at a time."""
    transposed, values = key.permute(1, 2, 0), value.transpose(0, 1)
    size = max(1, SCORES // (key.shape[0] * key.shape[1]))
    parts = []
    for some in query.split(size):
        scores = some.transpose(0, 1) @ transposed / math.sqrt(query.shape[-1])
        weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        parts.append((weights.to(values.dtype) @ values).transpose(0, 1))
    return torch.cat(parts)


@functools.cache
def xformers_works(device_type: str, dtype: torch.dtype) -> bool:
    """Whether xformers is there and computes in ``dtype``; an installed one often does not fit the installed torch."""
    if device_type != "cuda":
        return False
    try:
        probe = torch.zeros(2, 1, 64, device=device_type, dtype=dtype)
        _xformers_attention(probe, probe, probe, [1, 1], [1, 1])
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        logger.info("Bundle3D: attention by torch, for xformers does not work here: %s", error)
        return False
    return True


def _xformers_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_lengths: Sequence[int],
    key_lengths: Sequence[int],
) -> torch.Tensor:
    from xformers.ops import fmha, memory_efficient_attention

    bias = fmha.BlockDiagonalMask.from_seqlens(list(query_lengths), list(key_lengths))
    result: torch.Tensor = memory_efficient_attention(query[None], key[None], value[None], attn_bias=bias)[0]
    return result
