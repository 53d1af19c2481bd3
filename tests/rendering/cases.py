"""What the tests of the renderer run over, and how they compare."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.kernels import HAVE_NUMBA

from .shapes import ORTHOGRAPHIC, PERSPECTIVE

BACKENDS = ("numba", "torch") if HAVE_NUMBA else ("torch",)
each_backend = pytest.mark.parametrize("backend", BACKENDS)
both_projections = pytest.mark.parametrize("rig", (ORTHOGRAPHIC, PERSPECTIVE), ids=("orthographic", "perspective"))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Length of the difference over that of what was expected."""
    return float((found - expected).norm() / expected.norm())
