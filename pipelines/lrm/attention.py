"""Attention of many heads: xformers' kernel where it is installed and works, else torch's."""

from __future__ import annotations

import torch
from torch.nn import functional

from ..diffusion.attention import xformers_works

ALIGNMENT = 8  # what xformers' kernels want the width of a head to be a multiple of


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, heads: int) -> torch.Tensor:
    """Scaled dot-product attention of ``query`` (B, N, heads * D) to ``key`` and ``value`` (B, M, heads * D).

    Returns (B, N, heads * D); the scale is 1 / sqrt(D).
    """
    split = [tensor.unflatten(-1, (heads, -1)) for tensor in (query, key, value)]
    if split[0].shape[-1] % ALIGNMENT == 0 and xformers_works(query.device.type, query.dtype):
        from xformers.ops import memory_efficient_attention

        return memory_efficient_attention(*split).flatten(-2)
    attended = functional.scaled_dot_product_attention(*(tensor.transpose(1, 2) for tensor in split))
    return attended.transpose(1, 2).flatten(-2)
