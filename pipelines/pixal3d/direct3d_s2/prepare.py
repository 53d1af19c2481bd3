"""A photo as Pixal3D-D was trained to see it: the object fitted into a square on white, and its camera.

Source: specs/pixal3d.md sections 1.4 and 2.2.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image

from ...errors import Bundle3DError
from ...volumes.projection import camera_distance, front_camera
from ..conditioning import Pictures
from ..pictured_object import PicturedObject

SIZE = 518  # pixels of the square
PADDING = 20  # pixels around the object, and by how much the volume's middle plane overhangs the square
FOV = 0.2  # radians
MESH_SCALE = 0.9
WHITE = (255, 255, 255, 255)
FAINT = 7  # of 255, up to which alpha is a matte's noise and not the object


def fit_on_white(rgb: torch.Tensor, alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The object of a photo (H, W, 3) with ``alpha`` (H, W), both in [0, 1]: on white (S, S, 3), and its alpha (S, S).

    What is more than FAINT is fitted into the middle of SIZE pixels a side, PADDING from the edges, in 8 bit. Raises
    Bundle3DError for other shapes and where alpha shows no object.
    """
    if rgb.ndim != 3 or rgb.shape[-1] != 3 or alpha.shape != rgb.shape[:2]:
        raise Bundle3DError(
            f"Expected a photo (H, W, 3) and a mask (H, W) of the same size, but got {tuple(rgb.shape)} and "
            f"{tuple(alpha.shape)}; give the photo's own mask."
        )
    values = torch.cat((rgb, alpha[..., None]), dim=-1).float().clamp(0, 1)
    photo = Image.fromarray((values * 255).round().to(torch.uint8).cpu().numpy())
    box = photo.getchannel("A").point(lambda value: value > FAINT and 255).getbbox()
    if box is None:
        raise Bundle3DError(
            "Expected an object in the photo, but its mask is empty; check the mask or remove the background again."
        )
    cut = photo.crop(box)
    room = SIZE - 2 * PADDING
    scale = min(room / cut.width, room / cut.height)
    shape = max(int(cut.width * scale), 1), max(int(cut.height * scale), 1)
    corner = (SIZE - shape[0]) // 2, (SIZE - shape[1]) // 2
    on_white = Image.alpha_composite(Image.new("RGBA", cut.size, WHITE), cut).convert("RGB")
    square, mask = Image.new("RGB", (SIZE, SIZE), WHITE[:3]), Image.new("L", (SIZE, SIZE))
    square.paste(on_white.resize(shape, Image.Resampling.LANCZOS), corner)
    mask.paste(cut.getchannel("A").resize(shape, Image.Resampling.LANCZOS), corner)
    image, own = (torch.from_numpy(np.array(picture)).float() / 255 for picture in (square, mask))
    return image, own


def pictured_on_white(
    image: torch.Tensor, mask: torch.Tensor, fov: float = FOV, mesh_scale: float = MESH_SCALE
) -> PicturedObject:
    """An object of one photo as of `fit_on_white`, seen with a field of view of ``fov`` radians.

    The camera stands where the sides of the volume, in the middle plane, lie PADDING pixels of 518 outside of the
    picture. So ``mesh_scale``, of which the volume is the inverse, moves camera and volume alike: what is seen is the
    same with any, until `fit_scale` changes it and leaves the camera. Raises Bundle3DError for a field of view outside
    (0, pi) and for a scale that is not positive.
    """
    if not (mesh_scale > 0 and math.isfinite(mesh_scale)):
        raise Bundle3DError(f"Expected a positive scale of the mesh, but got {mesh_scale}; choose {MESH_SCALE}.")
    camera = front_camera(fov, camera_distance(fov, mesh_scale, PADDING, SIZE))
    return PicturedObject(Pictures(image[None], (camera,), mesh_scale), mask[None])
