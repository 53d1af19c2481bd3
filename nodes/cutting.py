"""The inputs that say what of a photo is the object."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.photo.matte import CUTS


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
