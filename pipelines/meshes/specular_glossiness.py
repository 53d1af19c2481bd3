"""Specular-glossiness materials as metallic-roughness ones (KHR_materials_pbrSpecularGlossiness)."""

from __future__ import annotations

import numpy as np

DIELECTRIC = 0.04


def _brightness(colour: np.ndarray) -> np.ndarray:
    return np.sqrt(colour**2 @ np.array([0.299, 0.587, 0.114]))


def metallic_roughness(diffuse: np.ndarray, specular: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base colour (..., 3) and metallic (...) of linear ``diffuse`` and ``specular`` (..., 3).

    Metallic m solves the two definitions of metallic-roughness in perceived brightness,
    ``diffuse = base (1 - s_d) (1 - m) / (1 - s)`` and ``specular = s_d (1 - m) + base m`` with s_d = 0.04 and s the
    strongest specular channel; base colour then follows from diffuse where m is small, from specular where it is large.
    """
    one_minus_specular = 1.0 - specular.max(-1)
    bright_diffuse, bright_specular = _brightness(diffuse), _brightness(specular)
    b = bright_diffuse * one_minus_specular / (1 - DIELECTRIC) + bright_specular - 2 * DIELECTRIC
    c = DIELECTRIC - bright_specular
    root = np.sqrt(np.maximum(b * b - 4 * DIELECTRIC * c, 0.0))
    metallic = np.where(bright_specular < DIELECTRIC, 0.0, np.clip((root - b) / (2 * DIELECTRIC), 0.0, 1.0))
    m = metallic[..., None]
    from_diffuse = diffuse * one_minus_specular[..., None] / ((1 - DIELECTRIC) * np.maximum(1 - m, 1e-6))
    from_specular = (specular - DIELECTRIC * (1 - m)) / np.maximum(m, 1e-6)
    base = from_diffuse + (from_specular - from_diffuse) * m * m
    return np.clip(base, 0.0, 1.0), metallic
