"""How large bundles are drawn, and how many."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError

FLUX_SAMPLE_SIZE = 1024  # pixels, what FLUX.1's VAE states; bundles are as high and twice as wide


def size_inputs() -> list[Any]:
    """Width and height as nodes offer them."""
    of_models = "0 takes what the models were made for: 2048 x 1024 for FLUX.1."
    return [
        io.Int.Input(
            "width",
            default=0,
            min=0,
            max=8192,
            step=32,
            tooltip=f"Width of the bundle in pixels, four tiles. {of_models}",
        ),
        io.Int.Input(
            "height",
            default=0,
            min=0,
            max=4096,
            step=32,
            tooltip=f"Height of the bundle in pixels, two tiles. {of_models}",
        ),
    ]


def bundle_size(width: int, height: int, sample_size: int | None, unit: int) -> tuple[int, int]:
    """(height, width) in pixels; zeros become the size that a VAE of ``sample_size`` was made for.

    Raises Bundle3DError for a size that is no bundle of four by two square tiles in steps of ``unit`` pixels.
    """
    native = sample_size or FLUX_SAMPLE_SIZE
    height = height or (width // 2 if width else native)
    width = width or 2 * height
    if width != 2 * height or height % (2 * unit):
        raise Bundle3DError(
            f"Expected a bundle twice as wide as high, with a height that is a multiple of {2 * unit}, but got "
            f"{width} x {height}; set one of both to 0 to have it follow the other."
        )
    return height, width


def check_batch(pictures: Sized | None, batch_size: int, what: str) -> None:
    """Raises Bundle3DError unless there is a picture for each of the batch's bundles, one for all, or none at all."""
    if pictures is not None and len(pictures) not in (1, batch_size):
        raise Bundle3DError(
            f"Expected 1 or {batch_size} {what} for a batch of {batch_size}, but got {len(pictures)}; change "
            "batch_size."
        )
