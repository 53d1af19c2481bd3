"""Masks that were painted by hand, read within bounds from PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import Bundle3DError
from ..photo.read_photo import strictly

LARGEST_FILE = 128 << 20  # bytes


def painted_mask(path: Path, size: tuple[int, int]) -> torch.Tensor:
    """The mask (H, W) float32 in [0, 1] in a PNG file of ``size`` (H, W): 1 on white, 0 on black and where transparent.

    Nothing is decoded before the size is known to fit. Raises Bundle3DError where there is no such file, it is no
    whole PNG, or its size is another one.
    """
    name = path.name
    if not path.is_file():
        raise Bundle3DError(f"Expected a painted mask, but {name} is not there; paint again.")
    if path.stat().st_size > LARGEST_FILE:
        raise Bundle3DError(
            f"Expected a painted mask of at most {LARGEST_FILE >> 20} MB, but {name} has "
            f"{path.stat().st_size >> 20}; paint again."
        )
    try:
        with strictly(), Image.open(path, formats=("PNG",)) as image:
            if image.size != (size[1], size[0]):
                raise Bundle3DError(
                    f"Expected a painted mask as large as the picture, {size[1]} x {size[0]} pixels, but {name} has "
                    f"{image.width} x {image.height}; press Clear on the node, run it and paint again."
                )
            return _coverage(image)
    except (Bundle3DError, MemoryError):
        raise
    except Exception as error:  # Pillow raises many kinds of exception on damaged data
        raise Bundle3DError(
            f"Expected a painted mask as PNG, but {name} cannot be decoded: it is damaged, incomplete or of another "
            "kind; paint again."
        ) from error


def _coverage(image: Image.Image) -> torch.Tensor:
    if image.mode.startswith("I"):  # 16 bits of grey
        return torch.from_numpy(np.asarray(image).astype(np.float32) / 65535.0)
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    values = Image.alpha_composite(black, image.convert("RGBA")).convert("L")
    return torch.from_numpy(np.asarray(values).astype(np.float32) / 255.0)
