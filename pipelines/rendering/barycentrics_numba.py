"""Compiled barycentrics, interpolation with them, and its derivative by hand, for one view with flat pixels.

The formulas are those of barycentrics.py. Bands of rows are numbered from their own first pixel, ``top`` rows down.
"""

from __future__ import annotations

import numpy as np

from ..kernels import kernel
from .barycentrics import SLIVER

Array = np.ndarray


@kernel
def corner_products(clip: Array, i: int, j: int, k: int, px: float, py: float) -> tuple[float, ...]:
    """X and Y of the three corners seen from the pixel centre (NDC), and the sum of their cross products."""
    x0, y0 = clip[i, 0] - px * np.float64(clip[i, 3]), clip[i, 1] - py * np.float64(clip[i, 3])
    x1, y1 = clip[j, 0] - px * np.float64(clip[j, 3]), clip[j, 1] - py * np.float64(clip[j, 3])
    x2, y2 = clip[k, 0] - px * np.float64(clip[k, 3]), clip[k, 1] - py * np.float64(clip[k, 3])
    return x0, y0, x1, y1, x2, y2, (x1 * y2 - x2 * y1) + (x2 * y0 - x0 * y2) + (x0 * y1 - x1 * y0)


@kernel
def clamped_weights(
    x0: float, y0: float, x1: float, y1: float, x2: float, y2: float, total: float
) -> tuple[float, float, float]:
    """Barycentrics, clamped to the triangle because a snapped triangle can cover a pixel that the exact one misses."""
    inverse = 1.0 / total if total != 0.0 else 1.0
    b0 = min(max((x1 * y2 - x2 * y1) * inverse, 0.0), 1.0)
    b1 = min(max((x2 * y0 - x0 * y2) * inverse, 0.0), 1.0)
    b2 = min(max((x0 * y1 - x1 * y0) * inverse, 0.0), 1.0)
    scale = 1.0 / max(b0 + b1 + b2, 1e-12)
    return b0 * scale, b1 * scale, b2 * scale


@kernel
def fill_barycentrics(
    clip: Array, faces: Array, face: Array, top: int, height: int, width: int, barycentric: Array
) -> None:
    """Write barycentrics (rows * W, 3) of the pixels of ``face`` (rows * W,), zeros where empty."""
    for row in range(face.shape[0] // width):
        py = 1.0 - (top + row + 0.5) * 2.0 / height
        for column in range(width):
            pixel = row * width + column
            b0, b1, b2 = 0.0, 0.0, 0.0
            shown = face[pixel]
            if shown >= 0:
                px = (column + 0.5) * 2.0 / width - 1.0
                i, j, k = faces[shown, 0], faces[shown, 1], faces[shown, 2]
                x0, y0, x1, y1, x2, y2, total = corner_products(clip, i, j, k, px, py)
                b0, b1, b2 = clamped_weights(x0, y0, x1, y1, x2, y2, total)
            barycentric[pixel, 0] = b0
            barycentric[pixel, 1] = b1
            barycentric[pixel, 2] = b2


@kernel
def fill_attributes(
    clip: Array, faces: Array, attributes: Array, face: Array, top: int, height: int, width: int, image: Array
) -> None:
    """Write attributes (N, C) at the pixels of ``face`` (rows * W,) into ``image`` (rows * W, C or C + 1); a further
    channel receives the coverage, empty pixels zeros."""
    channels = attributes.shape[1]
    coverage = image.shape[1] > channels
    for row in range(face.shape[0] // width):
        py = 1.0 - (top + row + 0.5) * 2.0 / height
        for column in range(width):
            pixel = row * width + column
            shown = face[pixel]
            if shown < 0:
                for c in range(image.shape[1]):
                    image[pixel, c] = 0.0
                continue
            i, j, k = faces[shown, 0], faces[shown, 1], faces[shown, 2]
            px = (column + 0.5) * 2.0 / width - 1.0
            x0, y0, x1, y1, x2, y2, total = corner_products(clip, i, j, k, px, py)
            b0, b1, b2 = clamped_weights(x0, y0, x1, y1, x2, y2, total)
            for c in range(channels):
                image[pixel, c] = b0 * attributes[i, c] + b1 * attributes[j, c] + b2 * attributes[k, c]
            if coverage:
                image[pixel, channels] = 1.0


@kernel
def pull_pixel(
    clip: Array,
    faces: Array,
    attributes: Array,
    shown: int,
    px: float,
    py: float,
    area_scale: float,
    gradient: Array,
    row: int,
    factor: float,
    to_clip: Array,
    to_attributes: Array,
) -> None:
    """Add to both gradients what one pixel passes on of ``factor * gradient[row]``."""
    i, j, k = faces[shown, 0], faces[shown, 1], faces[shown, 2]
    x0, y0, x1, y1, x2, y2, total = corner_products(clip, i, j, k, px, py)
    inverse = 1.0 / total if total != 0.0 else 1.0
    r0, r1, r2 = (x1 * y2 - x2 * y1) * inverse, (x2 * y0 - x0 * y2) * inverse, (x0 * y1 - x1 * y0) * inverse
    b0, b1, b2 = min(max(r0, 0.0), 1.0), min(max(r1, 0.0), 1.0), min(max(r2, 0.0), 1.0)
    scale = 1.0 / max(b0 + b1 + b2, 1e-12)
    b0, b1, b2 = b0 * scale, b1 * scale, b2 * scale
    g0, g1, g2 = 0.0, 0.0, 0.0
    for c in range(attributes.shape[1]):
        g = factor * gradient[row, c]
        g0 += g * attributes[i, c]
        g1 += g * attributes[j, c]
        g2 += g * attributes[k, c]
        to_attributes[i, c] += b0 * g
        to_attributes[j, c] += b1 * g
        to_attributes[k, c] += b2 * g
    mean = b0 * g0 + b1 * g1 + b2 * g2
    g0 = (g0 - mean) * scale if 0.0 <= r0 <= 1.0 else 0.0
    g1 = (g1 - mean) * scale if 0.0 <= r1 <= 1.0 else 0.0
    g2 = (g2 - mean) * scale if 0.0 <= r2 <= 1.0 else 0.0
    w = (np.float64(clip[i, 3]) + clip[j, 3] + clip[k, 3]) / 3.0
    inverse *= min(abs(total) * area_scale / (w * w), 1.0)
    mean = r0 * g0 + r1 * g1 + r2 * g2
    g0, g1, g2 = (g0 - mean) * inverse, (g1 - mean) * inverse, (g2 - mean) * inverse
    gx0, gy0 = g2 * y1 - g1 * y2, g1 * x2 - g2 * x1
    gx1, gy1 = g0 * y2 - g2 * y0, g2 * x0 - g0 * x2
    gx2, gy2 = g1 * y0 - g0 * y1, g0 * x1 - g1 * x0
    to_clip[i, 0] += gx0
    to_clip[i, 1] += gy0
    to_clip[i, 3] -= px * gx0 + py * gy0
    to_clip[j, 0] += gx1
    to_clip[j, 1] += gy1
    to_clip[j, 3] -= px * gx1 + py * gy1
    to_clip[k, 0] += gx2
    to_clip[k, 1] += gy2
    to_clip[k, 3] -= px * gx2 + py * gy2


@kernel
def pull_pixels(
    clip: Array,
    faces: Array,
    attributes: Array,
    face: Array,
    top: int,
    height: int,
    width: int,
    gradient: Array,
    to_clip: Array,
    to_attributes: Array,
) -> None:
    """The derivative of fill_attributes: add what ``gradient`` (rows * W, C or C + 1) means for the vertices."""
    area_scale = height * width / (4.0 * SLIVER)
    for row in range(face.shape[0] // width):
        py = 1.0 - (top + row + 0.5) * 2.0 / height
        for column in range(width):
            pixel = row * width + column
            shown = face[pixel]
            if shown >= 0:
                px = (column + 0.5) * 2.0 / width - 1.0
                pull_pixel(
                    clip, faces, attributes, shown, px, py, area_scale, gradient, pixel, 1.0, to_clip, to_attributes
                )


@kernel
def pull_shares(
    clip: Array,
    faces: Array,
    attributes: Array,
    face: Array,
    pixels: Array,
    rows: Array,
    factors: Array,
    height: int,
    width: int,
    gradient: Array,
    to_clip: Array,
    to_attributes: Array,
) -> None:
    """Add what ``factors[n] * gradient[rows[n]]``, seen by ``pixels[n]`` of the whole view, means for the vertices."""
    area_scale = height * width / (4.0 * SLIVER)
    for n in range(pixels.shape[0]):
        shown = face[pixels[n]]
        if shown >= 0:
            px = (pixels[n] % width + 0.5) * 2.0 / width - 1.0
            py = 1.0 - (pixels[n] // width + 0.5) * 2.0 / height
            pull_pixel(
                clip,
                faces,
                attributes,
                shown,
                px,
                py,
                area_scale,
                gradient,
                rows[n],
                factors[n],
                to_clip,
                to_attributes,
            )
