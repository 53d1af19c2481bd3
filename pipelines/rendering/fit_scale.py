"""The scale of the camera distances at which a given mesh fits the silhouettes of its views best.

Source: specs/kiss3dgen.md section 5.10 (a mesh and its bundle may disagree on scale).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..progress import Progress, silent
from ..views.masks import reduced_masks
from ..views.view_set import ViewSet
from .rasterise import rasterise

RASTER_SIZE = 256  # pixels of the longer side
LEAST_SCALE, LARGEST_SCALE = 0.8, 16 / 15  # 3.6 to 4.8 for the cameras of Kiss3DGen, at 4.5
WIDE_RANGE = (0.7, 1.45)  # for meshes that are not made from these views, or by a model with units of its own
COARSE_STEPS = 8
TOLERANCE = 4e-4
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def fit_scale(
    mesh: Mesh,
    views: ViewSet,
    low: float = LEAST_SCALE,
    high: float = LARGEST_SCALE,
    backend: str = "auto",
    progress: Progress = silent,
) -> float:
    """The factor in [low, high] that, applied to the distances of all cameras, makes the mean silhouette IoU of
    ``mesh`` and the masks of ``views`` largest.

    It is 1 with orthographic cameras only, where distance changes nothing. Deterministic.

    Raises Bundle3DError for an empty mesh or an empty interval.
    """
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with faces to fit the camera distances to, but it is empty.")
    if not 0.0 < low < high:
        raise Bundle3DError(
            f"Expected 0 < low < high for the scale of the distances, but got {low} and {high}; try 0.8 and 1.07."
        )
    if not any(camera.is_perspective for camera in views.rig):
        return 1.0
    masks = reduced_masks(views.mask, RASTER_SIZE)
    step = (high - low) / COARSE_STEPS

    def score(scale: float) -> float:
        progress(0, 1)
        return _overlap(mesh, views, masks, scale, backend)

    scores = [score(low + i * step) for i in range(COARSE_STEPS + 1)]
    best = scores.index(max(scores))
    left, right = low + max(best - 1, 0) * step, low + min(best + 1, COARSE_STEPS) * step
    return _golden_section(left, right, score)


def _overlap(mesh: Mesh, views: ViewSet, masks: torch.Tensor, scale: float, backend: str) -> float:
    height, width = masks.shape[1:]
    clip = views.rig.scaled(scale).clip(mesh.vertices, width / height)
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
