"""Folders of views with known cameras, as Pixal3D's own examples for several views are.

Source: specs/pixal3d.md section 1.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..diffusion.loading.source import read_json
from ..errors import Bundle3DError
from ..volumes.projection import GridCamera, relative_cameras
from .inner_paths import stays_inside

NAME = "transforms.json"
MOST_VIEWS = 64
ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp")  # which a file may leave out


@dataclass(frozen=True)
class ViewFolder:
    """The image ``files`` of one object, the camera of each with the first one in front, and the object's scale."""

    files: tuple[Path, ...]
    cameras: tuple[GridCamera, ...]
    mesh_scale: float = 1.0


def read_view_folder(folder: Path) -> ViewFolder:
    """The views that transforms.json in ``folder`` lists; the first is the front view.

    Each frame has a ``file_path`` (or ``name``) and a ``transform_matrix`` (4, 4) from camera to world, z up, the
    camera's axes right, up and toward the viewer; ``camera_angle_x``, in radians, is a frame's own or that of all.
    Raises Bundle3DError where the file or an image is missing, lies outside of the folder or makes no sense.
    """
    if not (folder / NAME).is_file():
        raise Bundle3DError(
            f"Expected '{NAME}' with the cameras in the folder '{folder.name}', but there is none; choose a folder of "
            "views with their cameras."
        )
    content = read_json(folder / NAME)
    try:
        frames = list(content["frames"])
        if not 1 <= len(frames) <= MOST_VIEWS:
            raise Bundle3DError(
                f"Expected 1 to {MOST_VIEWS} views in '{folder.name}/{NAME}', but it lists {len(frames)}; change it."
            )
        matrices = [torch.tensor(frame["transform_matrix"], dtype=torch.float64) for frame in frames]
        angles = [float(frame.get("camera_angle_x", content.get("camera_angle_x"))) for frame in frames]
        scale = float(content.get("mesh_scale", 1.0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, Bundle3DError):
            raise
        raise Bundle3DError(
            f"Expected frames with file_path, transform_matrix and camera_angle_x in '{folder.name}/{NAME}', but it "
            f"says otherwise ({type(error).__name__}: {error}); correct it."
        ) from error
    placed = all(matrix.shape == (4, 4) and bool(torch.isfinite(matrix).all()) for matrix in matrices)
    if not placed or not 0 < scale < math.inf:
        raise Bundle3DError(
            f"Expected matrices of 4 x 4 numbers and a positive mesh_scale in '{folder.name}/{NAME}', but it says "
            "otherwise; correct it."
        )
    files = tuple(_image(folder, frame) for frame in frames)
    return ViewFolder(files, relative_cameras(matrices, angles), scale)


def _image(folder: Path, frame: Mapping[str, Any]) -> Path:
    name = str(frame.get("file_path") or frame.get("name") or "")
    if not name or not stays_inside(name):
        raise Bundle3DError(
            f"Expected images inside of '{folder.name}', but '{NAME}' points to '{name}'; move them there."
        )
    for ending in ENDINGS:
        file = folder / f"{name}{ending}"
        if file.is_file():
            return file
    raise Bundle3DError(f"Expected the image '{name}' in '{folder.name}', but there is no such file; copy it there.")
