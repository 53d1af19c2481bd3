"""How well a finished asset, seen by the camera of its photo, lies on the photo.

Source: specs/pixal3d.md sections 2.2 and 2.3 (the camera), 11 (silhouette overlap as the measure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh
from ..metrics.image import psnr, silhouette_iou
from ..rendering.render_mesh import render_mesh
from ..views.camera import Camera
from ..views.rig import Rig
from ..volumes.projection import DEFAULT_FOV, camera_distance
from .finish.placement import TURNS


@dataclass(frozen=True)
class InputAlignment:
    """``silhouette_iou`` of asset and photo; ``psnr`` in dB of the asset's base colour inside the photo's mask, black
    where the asset leaves it open; ``picture`` (H, W, 3) sRGB of the asset on black and its ``coverage`` (H, W)."""

    silhouette_iou: float
    psnr: float
    picture: torch.Tensor
    coverage: torch.Tensor


def input_camera(
    fov: float = DEFAULT_FOV,
    distance: float | None = None,
    size: float = 2.0,
    front: str = "+Z",
    mesh_scale: float = 1.0,
) -> Camera:
    """The photo's camera in the place of an asset with this ``size`` and ``front`` (``FinishOptions``, +Y up).

    ``fov`` is in radians and ``distance`` in the units of the model, as its conditioning has them; without
    ``distance``, the middle plane of the model's cube fills the photo. Raises Bundle3DError for a field of view outside
    (0, pi) and for other axes.
    """
    if front not in TURNS:
        raise Bundle3DError(f"Expected the front to be one of {', '.join(TURNS)}, but got {front!r}; use +Z.")
    units = camera_distance(fov, mesh_scale) if distance is None else distance
    away = units * mesh_scale * size
    return Camera(90.0 * TURNS[front], 0.0, away, fov=math.degrees(fov), near=away * 1e-2, far=away * 1e2)


def input_alignment(mesh: Mesh, photo: torch.Tensor, mask: torch.Tensor, camera: Camera) -> InputAlignment:
    """Render ``mesh`` by ``camera`` and compare it with the square ``photo`` (S, S, 3) sRGB and its ``mask`` (S, S).

    The photo must be the one that conditioned the model, cropped as the model saw it. Raises Bundle3DError for other
    shapes, and for an empty mask.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.shape[0] != photo.shape[1] or mask.shape != photo.shape[:2]:
        raise Bundle3DError(
            f"Expected a square photo (S, S, 3) and its mask (S, S), but got {tuple(photo.shape)} and "
            f"{tuple(mask.shape)}; pass the cropped photo that the model saw."
        )
    size = photo.shape[0]
    pictures, coverages = render_mesh(mesh.to("cpu"), Rig((camera,)), size, size, "unlit", background=(0.0, 0.0, 0.0))
    picture, coverage = pictures[0], coverages[0]
    own = photo.detach().cpu().float() * (mask.detach().cpu()[..., None] > 0.5)
    inside = mask.detach().cpu().float()
    return InputAlignment(
        silhouette_iou=float(silhouette_iou(coverage, inside)),
        psnr=psnr(picture, own, inside),
        picture=picture,
        coverage=coverage,
    )
