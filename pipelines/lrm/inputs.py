"""Views of an object as the input of the model.

Source: specs/kiss3dgen.md sections 5.3, 5.4 and 5.10.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..views.resize import resize_squares
from ..views.rig import Rig
from ..views.view_set import ViewSet
from .cameras import camera_vectors
from .config import LrmConfig

ZERO123PLUS = "zero123plus"  # the rig


def model_input(views: ViewSet, config: LrmConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (1, V, 3, S, S) and cameras (1, V, 16) of ``views`` for ``LargeReconstructionModel.planes``.

    Colours outside the mask become white, and so does a whole view whose mask is empty. Every camera is given the
    distance that the model knows: its reconstruction then is in the model's own units, in which that distance would
    show the views as they are. Angles and field of view are the rig's, and views come in its order, whichever it is: a
    bundle's columns have the azimuths 0, 90, 180 and 270, Zero123++'s views those of its own rig; the object's front is
    where azimuth 0 looks at.

    Raises Bundle3DError as ``image_input`` does, and where no view shows anything.
    """
    if not any(shows_object(views)):
        raise Bundle3DError(
            "Expected an object in the views, but the masks of all of them are empty; check the pictures they are made "
            "of."
        )
    # The colours already lie on white: mixing again by a soft mask would lighten the rim.
    on_white = torch.where(views.mask[..., None] > 0.0, views.rgb, 1.0)
    return image_input(on_white, views.rig, config)


def image_input(images: torch.Tensor, rig: Rig, config: LrmConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from ``images`` (V, H, W, 3), sRGB in [0, 1] on white, seen by ``rig``.

    Raises Bundle3DError for images that are not square or not as many as cameras, and for orthographic cameras.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.shape[1] != images.shape[2]:
        raise Bundle3DError(
            f"Expected square RGB views of shape (V, H, H, 3), but got {tuple(images.shape)}; pad them with white to "
            "squares."
        )
    if len(images) != len(rig):
        raise Bundle3DError(
            f"Expected one view for each of the {len(rig)} cameras of the rig '{rig.name}', but got {len(images)}; "
            "choose the rig that the views were made with."
        )
    resized = resize_squares(images.float(), config.image_size).movedim(-1, 1)
    cameras = camera_vectors(rig.at_distance(told_distance(config, rig))).to(images.device)
    return resized[None], cameras[None]


def told_distance(config: LrmConfig, rig: Rig) -> float:
    """The distance, in the model's units, that the model is told of every camera of ``rig``."""
    if rig.name == ZERO123PLUS and config.zero123plus_distance is not None:
        return config.zero123plus_distance
    return config.camera_distance


def shows_object(views: ViewSet) -> list[bool]:
    """For each view whether its mask holds anything."""
    return (views.mask > 0.5).flatten(1).any(dim=1).tolist()
