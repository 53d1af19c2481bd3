"""What to know of the cameras of a folder of views: how they stand to the object's cube, and what looks wrong.

World: that of transforms.json, with the cube, whose sides are 1 / mesh scale, around its origin.
"""

from __future__ import annotations

import math

import torch

from ..views.masks import mask_box
from ..volumes.projection import GridCamera, grid_points
from .view_folder import ViewFolder

AT, PAST, AWAY = "looks at it", "looks past it", "looks away from it"
FARTHEST = 2.0  # times the nearest camera's distance, beyond which they hardly stand around one object
OVERHANG = 0.02  # of a picture's side by which an object may reach out of its cube, for rims are soft
ASTRAY = (
    "Not looking at the middle of the object's cube: {}; usual reasons are OpenCV's axes (x right, y down, z forward: "
    "negate the second and the third column) and matrices from world to camera (invert them)."
)
UNEVEN = (
    "{} stands {:.1f} times as far away as {}: unless that is so, check that the object is in the middle of the world, "
    "and that all matrices have one unit, Blender's axes instead of OpenCV's, and lead from camera to world."
)
TOO_FAR = (
    "The object reaches out of its cube in {}: distances count in sides of the cube, so halve those around an object "
    "in [-1, 1], or check camera_angle_x."
)


def camera_report(folder: ViewFolder, masks: torch.Tensor) -> list[str]:
    """A line on each camera, and one on whatever looks wrong; ``masks`` (V, S, S) show the object in its view."""
    names = [file.name for file in folder.files]
    distances = [float(camera.camera_to_world[:3, 3].norm()) * folder.mesh_scale for camera in folder.placed]
    looks = [_look(camera) for camera in folder.placed]
    lines = [
        f"{name}: field of view {math.degrees(camera.fov):.2f} degrees, {away:.3f} sides of the object's cube away, "
        f"{look}"
        for name, camera, away, look in zip(names, folder.placed, distances, looks)
    ]
    astray = [name for name, look in zip(names, looks) if look != AT]
    if astray:
        lines.append(ASTRAY.format(", ".join(astray)))
    nearest, farthest = min(distances), max(distances)
    if farthest > FARTHEST * nearest > 0.0:
        far, near = names[distances.index(farthest)], names[distances.index(nearest)]
        lines.append(UNEVEN.format(far, farthest / nearest, near))
    overhanging = [
        name
        for name, camera, look, mask in zip(names, folder.placed, looks, masks)
        if look == AT and _overhang(camera, mask, folder.mesh_scale) > OVERHANG
    ]
    if overhanging:
        lines.append(TOO_FAR.format(", ".join(overhanging)))
    return lines


def _look(camera: GridCamera) -> str:
    """Where a camera looks, as seen from it: whether the middle of the cube is in its picture, beside it or behind."""
    rotation, eye = camera.camera_to_world[:3, :3], camera.camera_to_world[:3, 3]
    x, y, z = (-rotation.T @ eye).tolist()
    if z >= 0.0:
        return AWAY
    return AT if max(abs(x), abs(y)) <= -z * math.tan(camera.fov / 2.0) else PAST


def _overhang(camera: GridCamera, mask: torch.Tensor, mesh_scale: float) -> float:
    """By how much of the picture's side the object's box exceeds that of the cube, at most of all four edges."""
    corners = camera.project(grid_points(2, mesh_scale, torch.float64))
    low, high = corners.amin(0), corners.amax(0)
    box = torch.tensor(mask_box(mask > 0.5), dtype=torch.float64) / len(mask)
    return float(torch.cat((low - box[:2], box[2:] - high)).max())
