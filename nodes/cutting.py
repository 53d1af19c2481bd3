"""The inputs that say what of a photo is the object, and the cut itself."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.photo.matte import CUTS, Matte, cut_out


def cutting_inputs() -> list[Any]:
    """image, mask, cut_by and invert_mask, with which a photo's object is cut out."""
    return [
        io.Image.Input("image", tooltip="Photos of one object each. A fourth channel is taken as alpha."),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="1 on the object: from Load Photo, or from Remove Background with BiRefNet for photos with a scene "
            "around the object.",
        ),
        io.Combo.Input(
            "cut_by",
            options=list(CUTS),
            default=CUTS[0],
            tooltip="What tells the object. automatic: the mask, else the image's alpha, else the colour of a plain "
            "background, whichever says anything first.",
        ),
        io.Boolean.Input(
            "invert_mask",
            default=False,
            tooltip="For masks that are 0 on the object, such as Load Image gives.",
        ),
    ]


def cut_photo(photo: torch.Tensor, mask: torch.Tensor | None, cut_by: str = CUTS[0], holes: bool = True) -> Matte:
    """The object of a photo (H, W, 3 or 4), whose fourth channel is alpha, with its mask (h, w); as ``cut_out``."""
    photo = photo.cpu().float()
    alpha = photo[..., 3] if photo.shape[-1] == 4 else None
    return cut_out(photo[..., :3], alpha, None if mask is None else mask.cpu().float(), cut_by, holes)
