"""Which pixels of a set of views can be trusted to show one place of a mesh, and how far away that place is.

Source: specs/kiss3dgen.md section 6.10 (eroded and blurred mask), section 10 B12 and B15 (its flaws).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from ..meshes.mesh import Mesh
from ..meshes.padding import pad_texture
from ..progress import Progress, silent
from ..views.camera import Camera
from ..views.rig import Rig
from .rasterise import rasterise

SOLID = 0.9  # coverage from which a pixel's colour is taken to be free of background
LARGEST_BUFFER = 2048
# A depth step within 3 x 3 pixels that a surface makes only when it is seen at less than about 7 degrees.
STEP_PIXELS = 16.0


@dataclass(frozen=True)
class ViewMaps:
    """``images`` (V, H, W, C) with the object's colours continued over its rim; ``confidence`` (V, H, W) in [0, 1],
    lower at silhouettes and occlusions, zero off the object; ``depth`` (V, S, T) along the view axis, infinite where
    empty; ``occluder`` (V, H, W) depth beyond which a point may be tinted by something in front of it nearby."""

    images: torch.Tensor
    confidence: torch.Tensor
    depth: torch.Tensor
    occluder: torch.Tensor


def view_maps(
    images: torch.Tensor,
    mask: torch.Tensor,
    rig: Rig,
    mesh: Mesh,
    rim: float,
    floor: float,
    backend: str = "auto",
    progress: Progress = silent,
) -> ViewMaps:
    """Maps of ``images`` (V, H, W, C) and ``mask`` (V, H, W) for the surface of ``mesh``.

    Within ``rim`` pixels of a silhouette or of an occlusion by the mesh the confidence falls to ``floor``.
    """
    height, width = mask.shape[1:]
    factor = max(1, min(2, LARGEST_BUFFER // max(height, width)))
    parts = []
    for view, camera in enumerate(rig):
        depth = depth_buffer(camera, mesh, height * factor, width * factor, backend).to(mask.device)
        step, radius = STEP_PIXELS * camera.pixel_size(height * factor), max(1, round(rim))
        blocked = max_pool2d(_depth_steps(depth, step)[None, None], factor)
        covered = (mask[view] > 0.5).float()[None, None]
        confidence = _confidence(covered, blocked, radius, floor)
        nearest = -max_pool2d(max_pool2d(-depth[None, None], factor), 2 * radius + 1, 1, radius)
        solid = mask[view] >= SOLID
        color = pad_texture(images[view].float(), solid if bool(solid.any()) else mask[view] > 0.5)
        # Within the window even a surface seen at a low angle varies in depth.
        parts.append((color, confidence[0, 0], depth, nearest[0, 0] + step * radius))
        progress(view + 1, len(rig))
    return ViewMaps(*(torch.stack(part) for part in zip(*parts)))


def depth_buffer(camera: Camera, mesh: Mesh, height: int, width: int, backend: str = "auto") -> torch.Tensor:
    """(H, W) distance of the mesh along the view axis of ``camera``, infinite where it is not seen."""
    clip = Rig((camera,)).clip(mesh.vertices, width / height)
    fragments = rasterise(clip, mesh.faces, height, width, backend)
    near, far, ndc = camera.near, camera.far, fragments.depth[0].double()
    if camera.is_perspective:
        depth = 2.0 * near * far / (far + near - ndc * (far - near))
    else:
        depth = (ndc * (far - near) + far + near) / 2.0
    return torch.where(fragments.mask[0], depth.float(), torch.full_like(fragments.depth[0], float("inf")))


def _depth_steps(depth: torch.Tensor, least: float) -> torch.Tensor:
    """(H, W) 1 where the depth within 3 x 3 pixels differs by more than ``least``, or ends."""
    finite = torch.isfinite(depth)
    if not bool(finite.any()):
        return torch.zeros_like(depth)
    filled = torch.where(finite, depth, depth[finite].amax() + 10.0 * least)[None, None]
    farthest, nearest = max_pool2d(filled, 3, 1, 1), -max_pool2d(-filled, 3, 1, 1)
    return (farthest - nearest > least).float()[0, 0]


def _confidence(covered: torch.Tensor, blocked: torch.Tensor, rim: int, floor: float) -> torch.Tensor:
    """Erode the trusted pixels by ``rim`` and soften the step; odd windows keep the mask centred."""
    size = 2 * rim + 1
    distrusted = torch.maximum(1.0 - covered, blocked)
    core = 1.0 - max_pool2d(distrusted, size, 1, rim)
    soft = avg_pool2d(pad(core, (1, 1, 1, 1), mode="replicate"), 3, 1)
    reach = max_pool2d(covered, size, 1, rim)
    return torch.maximum(soft, torch.full_like(soft, floor)) * reach
