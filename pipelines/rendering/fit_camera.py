"""The camera from which a mesh has the silhouette of a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.camera import Camera
from ..views.masks import mask_box, reduced_masks
from ..views.rig import Rig
from .rasterise import rasterise

RASTER_SIZE = 512  # pixels of the longer side
BOX_ROUNDS = 6
# First and last steps of the search: share of the distance, pixels of the raster, degrees.
FIRST_STEP, LAST_STEP = (0.02, 4.0, 2.0), (0.0005, 0.1, 0.1)
TILT_STEP = 5.0  # degrees between the elevations that are tried first
TILT_COST = 2e-4  # of the overlap per degree: what looks alike from all heights stays at the height it was said to be
STEEPEST = 85.0  # degrees


def fit_camera(
    mesh: Mesh,
    mask: torch.Tensor,
    camera: Camera,
    backend: str = "auto",
    progress: Progress = silent,
    tilt: float = 0.0,
) -> tuple[Camera, float]:
    """``camera`` at another distance and shifted in its own plane, so that ``mesh`` covers ``mask`` (H, W) best, and
    the silhouette IoU there.

    Azimuth and field of view stay; the elevation may change by ``tilt`` degrees. Boxes are matched first, then the
    overlap is searched. Deterministic. Raises Bundle3DError for an orthographic camera, an empty mask and an empty
    mesh.
    """
    if not camera.is_perspective:
        raise Bundle3DError("Expected a camera in perspective to fit, but it is orthographic; choose another rig.")
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to fit a camera to, but it is empty.")
    goal = reduced_masks(mask[None], RASTER_SIZE)[0]
    if not bool(goal.any()):
        raise Bundle3DError("Expected an object in the mask, but it is empty; cut the object out of the picture first.")
    used = mesh.vertices[torch.unique(mesh.faces)]
    said = camera.elevation

    def overlap(candidate: Camera) -> float:
        progress(0, 1)
        height, width = goal.shape
        clip = Rig((candidate,)).clip(mesh.vertices, width / height)
        covered = rasterise(clip, mesh.faces, height, width, backend).mask[0].to(goal.device)
        return int((covered & goal).sum()) / max(1, int((covered | goal).sum()))

    def score(candidate: Camera) -> float:
        return overlap(candidate) - TILT_COST * abs(candidate.elevation - said)

    starts = []
    for elevation in _elevations(said, tilt):
        start = replace(camera, elevation=elevation)
        for _ in range(BOX_ROUNDS):
            start = _box_matched(start, used, goal)
            progress(0, 1)
        starts.append(start)
    best = max(starts, key=score) if len(starts) > 1 else starts[0]
    found = _searched(best, goal.shape[0], score, (said - tilt, said + tilt))
    result = found, overlap(found)
    progress(1, 1)
    return result


def _elevations(said: float, tilt: float) -> list[float]:
    """Elevations to try, the likeliest first."""
    steps = range(1, int(tilt / TILT_STEP) + 1)
    tried = [said, *(said + sign * TILT_STEP * step for step in steps for sign in (1, -1))]
    return [elevation for elevation in tried if elevation == said or abs(elevation) <= STEEPEST]


def _searched(camera: Camera, height: int, score: Callable[[Camera], float], range_: tuple[float, float]) -> Camera:
    """Pattern search: go where it gets better, else make smaller steps; elevations stay within ``range_``."""
    best, steps, tilts = score(camera), FIRST_STEP, range_[0] < range_[1]
    while any(step > last for step, last in zip(steps[: 3 if tilts else 2], LAST_STEP)):
        share, pixels, degrees = steps
        shift = pixels * camera.pixel_size(height)
        moves = [(0.0, -shift, 0.0), (0.0, shift, 0.0), (0.0, 0.0, -shift), (0.0, 0.0, shift)]
        moves += [(-share, 0.0, 0.0), (share, 0.0, 0.0)]
        candidates = [_moved(camera, *move) for move in moves]
        if tilts:
            low, high = max(range_[0], -STEEPEST), min(range_[1], STEEPEST)
            tilted = (min(max(camera.elevation + sign * degrees, low), high) for sign in (-1, 1))
            candidates += [replace(camera, elevation=elevation) for elevation in tilted]
        scores = [score(candidate) for candidate in candidates]
        if max(scores) > best:
            best = max(scores)
            camera = candidates[scores.index(best)]
        else:
            steps = (share / 2.0, pixels / 2.0, degrees / 2.0)
    return camera


def _moved(camera: Camera, nearer: float, right: float, up: float) -> Camera:
    """``camera`` with a share of ``exp(nearer)`` of its distance, shifted by world units in its plane."""
    axes = camera.rotation()
    target = torch.tensor(camera.target, dtype=torch.float64) + right * axes[0] + up * axes[1]
    x, y, z = target.tolist()
    return replace(camera, distance=camera.distance * math.exp(nearer), target=(x, y, z))


def _box_matched(camera: Camera, vertices: torch.Tensor, goal: torch.Tensor) -> Camera:
    """``camera`` moved so that the box around the projected ``vertices`` comes nearer to that around ``goal``."""
    height, width = goal.shape
    points = camera.project(vertices.double().to(goal.device), height, width)[0]
    low, high = points.amin(0), points.amax(0)
    wanted_low, wanted_high = torch.tensor(mask_box(goal)).to(points).split(2)
    ratio = float(((high - low).norm() / (wanted_high - wanted_low).norm()).clamp(0.2, 5.0))
    off = ((low + high) - (wanted_low + wanted_high)) / 2.0 * camera.pixel_size(height)
    return _moved(camera, math.log(ratio), float(off[0]), -float(off[1]))
