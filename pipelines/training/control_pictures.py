"""The pictures that a bundle's ControlNet is shown, made from the bundle itself. Source: specs/kiss3dgen.md 3.6."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from ..diffusion.control_image import control_image, resized
from ..diffusion.models import UNION_MODES
from ..errors import Bundle3DError
from .dataset import CaptionedBundle
from .render_folder import depth_file

# The published network has ten modes, of which its model card names seven; normals get the first that is free.
MODES: Mapping[str, int] = {**{mode: UNION_MODES[mode] for mode in ("tile", "canny", "depth")}, "normal": 7}
PUBLISHED_MODES = 10
COARSEST_TILE = 8.0


def control_picture(bundle: CaptionedBundle, mode: str, coarseness: float) -> torch.Tensor:
    """What a ControlNet of ``mode`` sees instead of ``bundle``, (H, W, 3) in [0, 1].

    tile: the bundle, up to eight times coarser as ``coarseness`` says. canny: its edges. normal: its row of normals, in
    both rows. depth: the depths that were rendered with it, in both rows. Raises Bundle3DError for another mode, and
    for depths that are not there.
    """
    image = bundle.image()
    height, width, _ = image.shape
    if mode not in MODES:
        raise Bundle3DError(f"Expected the modes {', '.join(MODES)}, but got {mode!r}; choose among them.")
    if mode == "depth":
        return resized(_depths(bundle.path), height // 2, width).repeat(2, 1, 1)
    return control_image(image, mode, height, width, coarseness, make_map=True)


def coarseness_of(index: int) -> float:
    """How much coarser a dataset's bundle of that number is shown to the mode tile: evenly in octaves, 1 to 8."""
    generator = torch.Generator().manual_seed(index)
    return round(COARSEST_TILE ** float(torch.rand((), generator=generator)), 2)


def _depths(image: Path) -> torch.Tensor:
    path = depth_file(image)
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise Bundle3DError(
            f"Expected the depths {path.name} beside the bundle, but they cannot be read; render the meshes again, or "
            "leave out the mode depth."
        ) from error
    return torch.from_numpy(pixels.astype(np.float32) / 255.0)
