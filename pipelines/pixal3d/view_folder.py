"""Folders of views with known cameras, as Pixal3D's own examples for several views are.

Source: specs/pixal3d.md section 1.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import torch

from ..diffusion.loading.source import read_json
from ..errors import Bundle3DError
from ..volumes.projection import GridCamera, relative_cameras
from .inner_paths import stays_inside

NAME = "transforms.json"
MOST_VIEWS = 64
ENDINGS = ("", ".png", ".jpg", ".jpeg", ".webp")  # which a file may leave out
RIGID = 1e-4  # by which products of a rotation's columns may miss 0 and 1
ANGLE_ADVICE = "write the horizontal field of view in radians, such as 0.5236 for 30 degrees"


@dataclass(frozen=True)
class ViewFolder:
    """The image ``files`` of one object, the camera of each with the first one in front, and the object's scale.

    ``placed`` are the same cameras where transforms.json has them, around the object's cube in the middle of its world.
    """

    files: tuple[Path, ...]
    cameras: tuple[GridCamera, ...]
    placed: tuple[GridCamera, ...]
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
    source = f"'{folder.name}/{NAME}'"
    frames = _frames(content, source)
    files = tuple(_image(folder, frame) for frame in frames)
    placed = []
    for frame in frames:
        where = f"frame '{_name(frame)}' in {source}"
        placed.append(GridCamera(_matrix(frame, where), _angle(frame, content, where)))
    cameras = relative_cameras([camera.camera_to_world for camera in placed], [camera.fov for camera in placed])
    return ViewFolder(files, cameras, tuple(placed), _scale(content, source))


def _frames(content: Mapping[str, Any], source: str) -> list[dict[str, Any]]:
    frames = content.get("frames")
    if not isinstance(frames, list):
        raise Bundle3DError(f"Expected a list 'frames' in {source}, but it has {_said(frames)}; list the views there.")
    if not 1 <= len(frames) <= MOST_VIEWS:
        raise Bundle3DError(f"Expected 1 to {MOST_VIEWS} views in {source}, but it lists {len(frames)}; change it.")
    for number, frame in enumerate(frames, 1):
        if not isinstance(frame, dict):
            raise Bundle3DError(
                f"Expected frames with file_path and transform_matrix in {source}, but number {number} is "
                f"{_said(frame)}; write it as the others."
            )
    return frames


def _name(frame: Mapping[str, Any]) -> str:
    return str(frame.get("file_path") or frame.get("name") or "")


def _image(folder: Path, frame: Mapping[str, Any]) -> Path:
    name = _name(frame)
    if not name or not stays_inside(name):
        raise Bundle3DError(
            f"Expected images inside of '{folder.name}', but '{NAME}' points to '{name}'; move them there."
        )
    for ending in ENDINGS:
        file = folder / f"{name}{ending}"
        if file.is_file():
            return file
    raise Bundle3DError(f"Expected the image '{name}' in '{folder.name}', but there is no such file; copy it there.")


def _angle(frame: Mapping[str, Any], content: Mapping[str, Any], where: str) -> float:
    """The field of view in radians."""
    said = frame.get("camera_angle_x", content.get("camera_angle_x"))
    angle = _number(said)
    if 0.0 < angle < math.pi:
        return angle
    advice = f"if that is in degrees, write {math.radians(angle):.4f}" if math.pi <= angle < 180.0 else ANGLE_ADVICE
    raise Bundle3DError(
        f"Expected camera_angle_x in radians, between 0 and pi, for {where}, but got {_said(said)}; {advice}."
    )


def _scale(content: Mapping[str, Any], source: str) -> float:
    said = content.get("mesh_scale", 1.0)
    scale = _number(said)
    if not 0.0 < scale < math.inf:
        raise Bundle3DError(
            f"Expected a positive mesh_scale in {source}, but got {_said(said)}; write 1 over the side of the "
            "object's cube, or leave it out for 1."
        )
    return scale


def _matrix(frame: Mapping[str, Any], where: str) -> torch.Tensor:
    """(4, 4) float64 camera to world; raises Bundle3DError where it is more than a rotation and a shift."""
    said = frame.get("transform_matrix")
    try:
        matrix = torch.tensor(said, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise _matrix_error(where, _said(said), "write four rows of four numbers, from camera to world") from error
    if matrix.shape != (4, 4):
        came = f"{' x '.join(str(side) for side in matrix.shape)} numbers" if matrix.ndim else "a single one"
        advice = "add the row 0, 0, 0, 1" if matrix.shape == (3, 4) else "write it from camera to world"
        raise _matrix_error(where, came, advice)
    if not bool(matrix.isfinite().all()):
        raise _matrix_error(where, "NaN or infinite ones", "export the cameras again")
    _check_rotation(matrix[:3, :3], where)
    if not torch.allclose(matrix[3], torch.tensor((0.0, 0.0, 0.0, 1.0), dtype=torch.float64), atol=RIGID):
        last = ", ".join(f"{value:g}" for value in matrix[3])
        raise _matrix_error(where, f"{last} as the last row instead of 0, 0, 0, 1", "transpose it")
    return matrix


def _matrix_error(where: str, came: str, advice: str) -> Bundle3DError:
    return Bundle3DError(f"Expected 4 x 4 numbers as transform_matrix of {where}, but got {came}; {advice}.")


def _check_rotation(rotation: torch.Tensor, where: str) -> None:
    products = rotation.T @ rotation
    one = torch.eye(3, dtype=torch.float64)
    if torch.allclose(products, one, atol=RIGID):
        return
    lengths = products.diagonal().sqrt()
    scale = float(lengths.mean())
    if scale > 0.0 and torch.allclose(products / scale**2, one, atol=RIGID):
        came, advice = (
            f"one that scales by {scale:.4g}",
            f"remove its scale: divide its first three columns by {scale:.4g}",
        )
    else:
        sizes = ", ".join(f"{float(length):.4g}" for length in lengths)
        came = f"one with a shear or several scales, whose columns have lengths of {sizes}"
        advice = "remove its scale, also that of what the camera is fastened to, and export it again"
    raise Bundle3DError(f"Expected a rotation and a shift as transform_matrix of {where}, but got {came}; {advice}.")


def _number(said: object) -> float:
    """What a file says as a number; NaN where it is none."""
    try:
        return float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _said(value: object) -> str:
    return "none" if value is None else shortened(value)
