"""Telling a want of memory from other failures."""

from __future__ import annotations

import torch

# torch's words for RAM: its allocator's name, then what follows it on POSIX systems and on Windows; then Apple's GPUs
SIGNS = ("DefaultCPUAllocator", "can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a computation failed for want of memory, on an accelerator or in RAM."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
