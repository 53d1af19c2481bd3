"""From clip coordinates to the snapped screen coordinates that every rasteriser backend fills.

Pixel centres are at +0.5, row 0 is on top. Triangles that leave the depth range at the near plane, lie partly behind
the camera, or reach far outside the image are clipped geometrically, so that each backend only ever sees finite
coordinates of a bounded size and integer edge functions stay exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..kernels import kernel, run_jobs

Array = np.ndarray

SUBPIXELS = 256
OUTSIDE = -(2**31)  # position of a vertex that the clipped triangles replace
GUARD_BAND = 16.0  # in half images; below it nothing needs clipping at the image border
SMALLEST_W = 1e-6


@dataclass(frozen=True)
class Screen:
    """Snapped vertices, and the pieces of the triangles that had to be clipped.

    ``position`` (V, N, 2) int32 in 1/256 pixel (OUTSIDE where the vertex violates a clip plane); ``depth`` (V, N)
    float32 NDC z. Pieces: ``piece_view``, ``piece_face`` (T,) int64; ``piece_position`` (T, 3, 2) int32 and
    ``piece_depth`` (T, 3) float32.
    """

    position: torch.Tensor
    depth: torch.Tensor
    piece_view: torch.Tensor
    piece_face: torch.Tensor
    piece_position: torch.Tensor
    piece_depth: torch.Tensor


def to_screen(clip: torch.Tensor, faces: torch.Tensor, height: int, width: int, backend: str) -> Screen:
    """Snap clip coordinates (V, N, 4) to 1/256 pixel and clip the faces (M, 3) that need it."""
    clip = clip.detach()
    if backend == "numba":
        position = torch.empty(*clip.shape[:2], 2, dtype=torch.int32, device="cpu")
        depth = torch.empty(clip.shape[:2], device="cpu")
        arrays = [(clip[v].numpy(), height, width, position[v].numpy(), depth[v].numpy()) for v in range(len(clip))]
        complete = all(run_jobs(snap_vertices, arrays))
    else:
        position, depth = _snap(clip.double(), height, width)
        inside = _is_inside(clip.double())
        complete = bool(inside.all())
        position = position if complete else torch.where(inside[..., None], position, OUTSIDE)
    if complete:
        none = torch.empty(0, dtype=torch.int64, device=clip.device)
        return Screen(position, depth, none, none, position.new_empty(0, 3, 2), depth.new_empty(0, 3))
    faces = faces.long()
    view, face = (position[:, :, 0] == OUTSIDE)[:, faces].any(-1).nonzero(as_tuple=True)
    corners = clip[view[:, None], faces[face]].double()
    finite = torch.isfinite(corners).all(-1).all(-1)
    corners, view, face = _clip(corners[finite], view[finite], face[finite])
    return Screen(position, depth, view, face, *_snap(corners, height, width))


def _is_inside(clip: torch.Tensor) -> torch.Tensor:
    x, y, z, w = clip.unbind(-1)
    reach = GUARD_BAND * w
    return (z >= -w) & (w >= SMALLEST_W) & (x.abs() <= reach) & (y.abs() <= reach)


def _snap(clip: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    w = clip[..., 3].clamp(min=SMALLEST_W)
    x = (clip[..., 0] / w + 1.0) * (width * SUBPIXELS / 2)
    y = (1.0 - clip[..., 1] / w) * (height * SUBPIXELS / 2)
    limit = float(2**30)
    position = (torch.stack((x, y), dim=-1).nan_to_num(0.0).clamp(-limit, limit) + 0.5).floor().int()
    return position, (clip[..., 2] / w).float()


@kernel
def snap_vertices(clip: Array, height: int, width: int, position: Array, depth: Array) -> bool:
    """One view's vertices (N, 4) to ``position`` (N, 2) and ``depth`` (N,); false if one violates a clip plane."""
    complete = True
    for n in range(clip.shape[0]):
        x, y, z, w = np.float64(clip[n, 0]), np.float64(clip[n, 1]), np.float64(clip[n, 2]), np.float64(clip[n, 3])
        reach = GUARD_BAND * w
        if z >= -w and w >= SMALLEST_W and abs(x) <= reach and abs(y) <= reach:
            position[n, 0] = np.int32(np.floor((x / w + 1.0) * (width * SUBPIXELS / 2) + 0.5))
            position[n, 1] = np.int32(np.floor((1.0 - y / w) * (height * SUBPIXELS / 2) + 0.5))
            depth[n] = np.float32(z / w)
        else:
            position[n, 0] = OUTSIDE
            position[n, 1] = OUTSIDE
            depth[n] = 1.0
            complete = False
    return complete


def _clip(
    corners: torch.Tensor, view: torch.Tensor, face: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut triangles (T, 3, 4) by one plane after the other; each cut leaves none, one or two triangles of each."""
    g = GUARD_BAND
    planes = corners.new_tensor(((0, 0, 0, 1), (0, 0, 1, 1), (1, 0, 0, g), (-1, 0, 0, g), (0, 1, 0, g), (0, -1, 0, g)))
    offsets = corners.new_tensor((-SMALLEST_W, 0, 0, 0, 0, 0))
    for plane, offset in zip(planes, offsets):
        distance = corners @ plane + offset
        inside = distance >= 0
        count = inside.sum(-1)
        whole, single, double = count == 3, count == 1, count == 2
        # turn the odd vertex (the only one inside or the only one outside) to the front
        a, da = _turned(corners[single], distance[single], inside[single])
        b, db = _turned(corners[double], distance[double], ~inside[double])
        tip = torch.stack((a[:, 0], _cut(a, da, 0, 1), _cut(a, da, 0, 2)), dim=1)
        near, far = _cut(b, db, 1, 0), _cut(b, db, 2, 0)
        quad = (torch.stack((near, b[:, 1], b[:, 2]), dim=1), torch.stack((near, b[:, 2], far), dim=1))
        corners = torch.cat((corners[whole], tip, *quad))
        view = torch.cat((view[whole], view[single], view[double], view[double]))
        face = torch.cat((face[whole], face[single], face[double], face[double]))
    return corners, view, face


def _turned(corners: torch.Tensor, distance: torch.Tensor, odd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    order = (odd.int().argmax(-1)[:, None] + torch.arange(3, device=odd.device)) % 3
    return torch.take_along_dim(corners, order[..., None], 1), torch.take_along_dim(distance, order, 1)


def _cut(corners: torch.Tensor, distance: torch.Tensor, inner: int, outer: int) -> torch.Tensor:
    """Where an edge meets the plane; always seen from the inside, so that neighbours agree to the last bit."""
    share = (distance[:, inner] / (distance[:, inner] - distance[:, outer]))[:, None]
    return corners[:, inner] + share * (corners[:, outer] - corners[:, inner])
