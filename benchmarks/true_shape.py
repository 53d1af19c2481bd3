"""How near a reconstruction comes to the true object: in space, in the picture that was given, and all around.

Space: F-score at 0.1 and Chamfer distance, both in a cube [-1, 1]^3, after 24 turns about the up axis and similarity
ICP (specs/field.md 4.4); the same without turns and ICP beside it.
"""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.metrics.alignment import align
from bundle3d.pipelines.metrics.geometry import compare_meshes
from bundle3d.pipelines.metrics.image import normal_angle_error, psnr, silhouette_iou, ssim
from bundle3d.pipelines.photo.frame import Framed
from bundle3d.pipelines.rendering.fit_camera import fit_camera
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig
from bundle3d.pipelines.views.view_set import ViewSet

THRESHOLD = 0.1
SOLID = 0.999  # coverage of the pixels whose normals are compared
LARGEST_PSNR = 99.0  # dB, of equal pictures


def in_space(mesh: Mesh, truth: Mesh) -> dict[str, float]:
    """f_score and cd of ``mesh`` against ``truth``, whatever their sizes and directions."""
    goal = normalise(truth)
    scores = compare_meshes(align(normalise(mesh), goal), goal)
    return {"f_score": round(scores.f_score[THRESHOLD], 4), "cd": round(scores.chamfer, 4)}


def in_place(mesh: Mesh, truth: Mesh) -> dict[str, float]:
    """The same without turning or fitting anything but the boxes."""
    scores = compare_meshes(normalise(mesh), normalise(truth))
    return {"f_score_unaligned": round(scores.f_score[THRESHOLD], 4), "cd_unaligned": round(scores.chamfer, 4)}


def pictured(mesh: Mesh, photo: Framed, camera: Camera, mode: str) -> ViewSet:
    """``mesh`` as the framed photo shows it: in the direction of ``camera``, at the distance and with the shift at
    which the silhouettes agree best, for framing has taken both out of the photo."""
    fitted, _ = fit_camera(mesh, photo.alpha, camera)
    return render_views(mesh, Rig((fitted,)), len(photo.alpha), mode)


def in_picture(seen: ViewSet, photo: Framed) -> dict[str, float]:
    """Silhouette IoU, and PSNR and SSIM of the whole picture on white and inside the photo's silhouette."""
    rgb, mask = seen.rgb[0], photo.alpha
    return {
        "iou": round(float(silhouette_iou(seen.mask[0], mask)), 4),
        "psnr": round(min(psnr(rgb, photo.rgb), LARGEST_PSNR), 2),
        "psnr_inside": round(min(psnr(rgb, photo.rgb, mask), LARGEST_PSNR), 2),
        "ssim": round(ssim(rgb, photo.rgb), 4),
    }


def normals_in_picture(seen: ViewSet, true: ViewSet) -> float:
    """Mean angle in degrees between the normals that both show, 90 where they share nothing."""
    both = torch.minimum(seen.mask[0], true.mask[0]) >= SOLID
    if not bool(both.any()):
        return 90.0
    mean, _ = normal_angle_error(seen.normal[0], true.normal[0], both)
    return round(mean, 2) if math.isfinite(mean) else 90.0


def untouched_iou(mesh: Mesh, camera: Camera, alpha: torch.Tensor) -> float:
    """Silhouette IoU (H, W) from the photo's own camera, nothing fitted."""
    seen = render_views(mesh, Rig((camera,)), len(alpha))
    return round(float(silhouette_iou(seen.mask[0], alpha)), 4)
