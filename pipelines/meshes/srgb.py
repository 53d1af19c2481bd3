"""The sRGB transfer function (IEC 61966-2-1) on arrays, both ways; `rendering.color` has it on tensors."""

from __future__ import annotations

import numpy as np


def linear_from_srgb(values: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 to linear."""
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(values: np.ndarray) -> np.ndarray:
    """Linear in 0..1 to sRGB."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0.0031308) ** (1 / 2.4) - 0.055)
