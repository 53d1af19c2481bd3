"""The sRGB curve at its published points."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.rendering.color import linear_to_srgb, srgb_to_linear


def test_known_values() -> None:
    srgb = torch.tensor((0.0, 0.04045, 0.5, 1.0), dtype=torch.float64)
    linear = torch.tensor((0.0, 0.0031308, 0.21404114, 1.0), dtype=torch.float64)
    assert srgb_to_linear(srgb).tolist() == pytest.approx(linear.tolist(), abs=1e-7)
    assert linear_to_srgb(linear).tolist() == pytest.approx(srgb.tolist(), abs=1e-6)


def test_eight_bit_values_survive_both_ways() -> None:
    levels = torch.arange(256.0) / 255.0
    assert float((linear_to_srgb(srgb_to_linear(levels)) - levels).abs().max()) < 1e-5


def test_outside_values_are_clamped_and_gradients_are_finite() -> None:
    color = torch.tensor((-1.0, 0.0, 0.5, 2.0), requires_grad=True)
    result = linear_to_srgb(color)
    assert result.detach()[[0, 3]].tolist() == pytest.approx((0.0, 1.0))
    result.sum().backward()
    assert color.grad is not None
    assert bool(torch.isfinite(color.grad).all())
