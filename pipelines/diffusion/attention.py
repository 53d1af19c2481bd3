"""Which attention kernel the transformers run."""

from __future__ import annotations

import contextlib
import functools
import logging
from contextlib import AbstractContextManager

import torch

logger = logging.getLogger(__name__)


def attention(device: torch.device) -> AbstractContextManager[None]:
    """xformers' attention where it is installed and works on ``device``, else torch's scaled dot-product attention.

    Only for what runs inside the context: other users of diffusers keep what they chose.
    """
    if not xformers_works(device.type):
        return contextlib.nullcontext()
    from diffusers.models.attention_dispatch import attention_backend

    return attention_backend("xformers")


@functools.cache
def xformers_works(device_type: str, dtype: torch.dtype = torch.float16) -> bool:
    """Whether xformers is there and computes in ``dtype``; an installed one often does not fit the installed torch."""
    if device_type != "cuda":
        return False
    try:
        from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn

        with attention_backend("xformers"):
            probe = torch.zeros(1, 1, 1, 64, device=device_type, dtype=dtype)
            dispatch_attention_fn(probe, probe, probe)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        logger.info("Bundle3D: attention by torch, for xformers does not work here: %s", error)
        return False
    return True
