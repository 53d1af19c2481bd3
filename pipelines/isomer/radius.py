"""The camera distance at which a given mesh fits the silhouettes of its views best.

Source: specs/kiss3dgen.md section 5.10 (a mesh and its bundle may disagree on scale).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..rendering.rasterise import rasterise
from ..views.view_set import ViewSet

RASTER_SIZE = 256  # pixels of the longer side
COARSE_STEPS = 8
TOLERANCE = 2e-3  # world units
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def fit_distance(mesh: Mesh, views: ViewSet, low: float = 3.6, high: float = 4.8, backend: str = "auto") -> float:
    """The distance in [low, high] at which the mean silhouette IoU of ``mesh`` and the masks of ``views`` is largest.

    All cameras of the rig move to that distance. With orthographic cameras only, where distance changes nothing, the
    rig's own distance is returned. Deterministic.

    Raises Bundle3DError for an empty mesh or an empty interval.
    """
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to fit the camera distance to, but it is empty.")
    if not 0.0 < low < high:
        raise Bundle3DError(f"Expected 0 < low < high for the camera distance, but got {low} and {high}.")
    if not any(camera.is_perspective for camera in views.rig):
        return views.rig[0].distance
    masks = _small_masks(views.mask)
    step = (high - low) / COARSE_STEPS
    scores = [_overlap(mesh, views, masks, low + i * step, backend) for i in range(COARSE_STEPS + 1)]
    best = scores.index(max(scores))
    left, right = low + max(best - 1, 0) * step, low + min(best + 1, COARSE_STEPS) * step
    return _golden_section(left, right, lambda distance: _overlap(mesh, views, masks, distance, backend))


def _small_masks(mask: torch.Tensor) -> torch.Tensor:
    height, width = mask.shape[1:]
    share = min(1.0, RASTER_SIZE / max(height, width))
    size = (max(1, round(height * share)), max(1, round(width * share)))
    small = torch.nn.functional.interpolate(mask[:, None], size=size, mode="bilinear", antialias=True)
    return small[:, 0] > 0.5


def _overlap(mesh: Mesh, views: ViewSet, masks: torch.Tensor, distance: float, backend: str) -> float:
    height, width = masks.shape[1:]
    clip = views.rig.at_distance(distance).clip(mesh.vertices, width / height)
    covered = rasterise(clip, mesh.faces, height, width, backend).mask.to(masks.device)
    common = (covered & masks).sum(dim=(1, 2)).double()
    either = (covered | masks).sum(dim=(1, 2)).double()
    return float((common / either.clamp(min=1.0)).mean())


def _golden_section(left: float, right: float, score: Callable[[float], float]) -> float:
    """The place of the maximum of a unimodal ``score`` in [left, right]."""
    one, two = right - GOLDEN * (right - left), left + GOLDEN * (right - left)
    at_one, at_two = score(one), score(two)
    while right - left > TOLERANCE:
        if at_one >= at_two:
            right, two, at_two = two, one, at_one
            one = right - GOLDEN * (right - left)
            at_one = score(one)
        else:
            left, one, at_one = one, two, at_two
            two = left + GOLDEN * (right - left)
            at_two = score(two)
    return (left + right) / 2.0
