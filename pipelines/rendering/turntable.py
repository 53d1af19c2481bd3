"""A mesh turning once in front of the camera."""

from __future__ import annotations

import math

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.camera import Camera
from ..views.rig import Rig
from .render_mesh import render_mesh

FOV = 30.0
MARGIN = 1.05


def turntable(
    mesh: Mesh,
    frames: int = 36,
    size: int = 512,
    mode: str = "shaded",
    elevation: float = 15.0,
    progress: Progress = silent,
    supersample: int = 2,
) -> torch.Tensor:
    """Frames (F, size, size, 3) sRGB on white of one turn, starting in front; the whole mesh stays in the picture.

    ``elevation`` of the camera is in degrees. Reports every frame with itself as the preview.
    """
    if frames < 1:
        raise Bundle3DError(f"A turntable needs at least one frame, but got {frames}; try 36.")
    pictures: list[torch.Tensor] = []
    for index, camera in enumerate(framing_orbit(mesh, frames, elevation)):
        picture, _ = render_mesh(mesh, Rig((camera,)), size, size, mode, supersample)
        pictures.append(picture[0])
        progress(index + 1, frames, lambda: pictures[-1])
    return torch.stack(pictures)


def framing_orbit(mesh: Mesh, count: int, elevation: float = 15.0) -> Rig:
    """``count`` cameras around ``mesh``, so far away that its bounding sphere fits into every view."""
    low, high = mesh.bounds
    centre = (low + high) / 2.0
    radius = max(float((mesh.vertices - centre).norm(dim=-1).max()), 1e-6)
    distance = MARGIN * radius / math.sin(math.radians(FOV / 2.0))
    x, y, z = (float(value) for value in centre)
    cameras = tuple(
        Camera(360.0 * i / count, elevation, distance, FOV, target=(x, y, z), near=distance / 50.0, far=distance * 10.0)
        for i in range(count)
    )
    return Rig(cameras, f"turntable({count})")
