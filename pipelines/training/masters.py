"""Weights that are trained in float32 while their layers compute in the base's type."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from ..diffusion.loading.casting import cast_weights

Module = TypeVar("Module", bound=nn.Module)


def with_masters(module: Module, compute_dtype: torch.dtype) -> Module:
    """Makes the layers of ``module`` compute in ``compute_dtype``, with float32 for the weights that have gradients.

    Small updates would be lost in bfloat16. The frozen weights stay stored as they are.
    """
    trained = {weight: weight.data.float() for weight in module.parameters() if weight.requires_grad}
    cast_weights(module, compute_dtype)
    for weight, values in trained.items():
        weight.data = values
    return module
