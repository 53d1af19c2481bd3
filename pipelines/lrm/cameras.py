"""The frame of the model and its description of cameras.

The model's world has +Z up and the object's front toward +X; ours has +Y up and the front toward +Z. Azimuths agree:
from the front toward the object's own left, which is +Y there and +X here.
Source: specs/kiss3dgen.md sections 5.4 and 5.9.
"""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..views.rig import Rig


def to_world(points: torch.Tensor) -> torch.Tensor:
    """Points (..., 3) of the model's frame in ours: (x, y, z) becomes (y, z, x)."""
    return points[..., [1, 2, 0]]


def to_model(points: torch.Tensor) -> torch.Tensor:
    """Points (..., 3) of our frame in the model's: (x, y, z) becomes (z, x, y)."""
    return points[..., [2, 0, 1]]


def camera_vectors(rig: Rig) -> torch.Tensor:
    """The cameras of ``rig`` as the model reads them, (V, 16) float32.

    The rows of the camera-to-world matrix [R|t] in the model's frame (camera: x right, y up, z backward), then focal
    lengths and principal point as shares of a square image's side. The distances are those of the rig.
    Raises Bundle3DError for an orthographic camera.
    """
    return torch.stack([_vector(index, rig) for index in range(len(rig))]).float()


def _vector(index: int, rig: Rig) -> torch.Tensor:
    camera = rig[index]
    if not camera.is_perspective:
        raise Bundle3DError(
            f"Expected perspective views for the reconstruction model, but camera {index + 1} of the rig "
            f"'{rig.name}' is orthographic; choose a rig such as lrm or zero123plus."
        )
    axes = to_model(camera.rotation()).T
    pose = torch.cat((axes, to_model(camera.eye())[:, None]), dim=1)
    focal = camera.scale / 2.0
    return torch.cat((pose.flatten(), torch.tensor((focal, focal, 0.5, 0.5), dtype=torch.float64)))
