"""Compiled z-buffer: one job per view and band of rows."""

from __future__ import annotations

import numpy as np
import torch

from ..kernels import bands, kernel, run_jobs, thread_count
from .barycentrics_numba import fill_barycentrics
from .screen import OUTSIDE, Screen

Array = np.ndarray


@kernel
def fill_triangles(
    position: Array,
    depth: Array,
    corners: Array,
    names: Array,
    top: int,
    front_depth: Array,
    front_face: Array,
    depth_buffer: Array,
    face_buffer: Array,
) -> None:
    """Draw triangles into the rows ``top`` and below; nearest wins, then the lower name.

    ``position`` (N, 2) int32, ``depth`` (N,) float32, ``corners`` (T, 3) int32, ``names`` (T,) int32 or empty where a
    triangle's name is its index; both buffers (rows, W). Only what comes after ``front_depth`` and ``front_face``
    (rows, W) in that order is drawn, everything where those are empty.
    """
    peels = front_depth.shape[0] > 0
    rows, width = depth_buffer.shape
    low, high = np.int64(top) * 256 + 128, np.int64(top + rows) * 256 - 128
    for t in range(corners.shape[0]):
        i, j, k = corners[t, 0], corners[t, 1], corners[t, 2]
        y0, y1, y2 = np.int64(position[i, 1]), np.int64(position[j, 1]), np.int64(position[k, 1])
        lowest, highest = min(y0, y1, y2), max(y0, y1, y2)
        if highest < low or lowest > high:
            continue
        x0, x1, x2 = np.int64(position[i, 0]), np.int64(position[j, 0]), np.int64(position[k, 0])
        leftmost = min(x0, x1, x2)
        if leftmost == OUTSIDE:
            continue
        first_x = max((leftmost + 127) >> 8, 0)
        last_x = min((max(x0, x1, x2) - 128) >> 8, width - 1)
        first_y = max((lowest + 127) >> 8, top)
        last_y = min((highest - 128) >> 8, top + rows - 1)
        if first_x > last_x or first_y > last_y:
            continue
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area == 0:
            continue
        z0, z1, z2 = np.float64(depth[i]), np.float64(depth[j]), np.float64(depth[k])
        if area < 0:
            area = -area
            x1, x2 = x2, x1
            y1, y2 = y2, y1
            z1, z2 = z2, z1
        name = np.int32(t) if names.shape[0] == 0 else names[t]
        inverse = 1.0 / np.float64(area)
        z1 -= z0
        z2 -= z0
        # edge functions at the centre of the first pixel, exact in float64; a pixel on an edge is inside if the edge is
        # a top or a left one
        px, py = first_x * 256 + 128, first_y * 256 + 128
        bias0 = 0.0 if y2 < y1 or (y2 == y1 and x2 > x1) else -1.0
        bias1 = 0.0 if y0 < y2 or (y0 == y2 and x0 > x2) else -1.0
        bias2 = 0.0 if y1 < y0 or (y1 == y0 and x1 > x0) else -1.0
        row0 = np.float64((x2 - x1) * (py - y1) - (y2 - y1) * (px - x1)) + bias0
        row1 = np.float64((x0 - x2) * (py - y2) - (y0 - y2) * (px - x2)) + bias1
        row2 = np.float64((x1 - x0) * (py - y0) - (y1 - y0) * (px - x0)) + bias2
        right0, right1, right2 = (y2 - y1) * 256.0, (y0 - y2) * 256.0, (y1 - y0) * 256.0
        down0, down1, down2 = (x2 - x1) * 256.0, (x0 - x2) * 256.0, (x1 - x0) * 256.0
        slope = -(right1 * z1 + right2 * z2) * inverse
        widest = np.float64(last_x - first_x)
        for y in range(first_y - top, last_y - top + 1):
            # inside while edge - right * column >= 0; the quotients of integers of this size floor exactly
            most = min(
                np.floor(row0 / right0) if right0 > 0.0 else (-1.0 if right0 == 0.0 and row0 < 0.0 else widest),
                np.floor(row1 / right1) if right1 > 0.0 else (-1.0 if right1 == 0.0 and row1 < 0.0 else widest),
                np.floor(row2 / right2) if right2 > 0.0 else (-1.0 if right2 == 0.0 and row2 < 0.0 else widest),
                widest,
            )
            least = max(
                np.ceil(row0 / right0) if right0 < 0.0 else 0.0,
                np.ceil(row1 / right1) if right1 < 0.0 else 0.0,
                np.ceil(row2 / right2) if right2 < 0.0 else 0.0,
            )
            begin_z = z0 + ((row1 - bias1) * z1 + (row2 - bias2) * z2) * inverse
            for column in range(int(least), int(most) + 1):
                x = first_x + column
                z = np.float32(begin_z + column * slope)
                nearest = depth_buffer[y, x]
                if z >= np.float32(-1.0) and (z < nearest or (z == nearest and name < face_buffer[y, x])):
                    if peels:
                        front = front_depth[y, x]
                        if z < front or (z == front and name <= front_face[y, x]):
                            continue
                    depth_buffer[y, x] = z
                    face_buffer[y, x] = name
            row0 += down0
            row1 += down1
            row2 += down2


def fill_band(
    screen: Screen,
    faces: Array,
    view: int,
    top: int,
    depth_buffer: Array,
    face_buffer: Array,
    front: tuple[Array, Array] | None = None,
) -> None:
    """Clear both buffers (rows, W) and draw one view into them; ``faces`` (M, 3) int32.

    Only what lies behind the depths and faces ``front``, both (rows, W), is drawn.
    """
    depth_buffer.fill(1.0)
    face_buffer.fill(-1)
    everything = np.empty(0, np.int32)
    front_depth, front_face = front or (np.empty((0, 0), np.float32), np.empty((0, 0), np.int32))
    position, depth = screen.position[view].numpy(), screen.depth[view].numpy()
    fill_triangles(position, depth, faces, everything, top, front_depth, front_face, depth_buffer, face_buffer)
    mine = (screen.piece_view == view).nonzero().squeeze(1)
    if mine.numel():
        corners = np.arange(3 * mine.numel(), dtype=np.int32).reshape(-1, 3)
        position = screen.piece_position[mine].reshape(-1, 2).numpy()
        depth = screen.piece_depth[mine].reshape(-1).numpy()
        names = screen.piece_face[mine].int().numpy()
        fill_triangles(position, depth, corners, names, top, front_depth, front_face, depth_buffer, face_buffer)


def rasterise_numba(
    clip: torch.Tensor,
    faces: torch.Tensor,
    screen: Screen,
    height: int,
    width: int,
    front: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Face ids, barycentrics and depths of ``clip`` (V, N, 4) float32 and ``faces`` (M, 3) int32, both contiguous.

    Only what lies behind the depths and faces ``front``, both (V, H, W), is drawn.
    """
    views = clip.shape[0]
    face = torch.empty(views, height, width, dtype=torch.int32, device="cpu")
    depth = torch.empty(views, height, width, device="cpu")
    barycentric = torch.empty(views, height, width, 3, device="cpu")
    clip_array, face_array = clip.numpy(), faces.numpy()
    face_buffer, depth_buffer, barycentric_buffer = face.numpy(), depth.numpy(), barycentric.numpy()
    front_arrays = None if front is None else (front[0].numpy(), front[1].numpy())

    def work(view: int, top: int, end: int) -> None:
        rows = face_buffer[view, top:end]
        peeled = None if front_arrays is None else (front_arrays[0][view, top:end], front_arrays[1][view, top:end])
        fill_band(screen, face_array, view, top, depth_buffer[view, top:end], rows, peeled)
        weights = barycentric_buffer[view, top:end].reshape(-1, 3)
        fill_barycentrics(clip_array[view], face_array, rows.reshape(-1), top, height, width, weights)

    run_jobs(work, bands(views, height, max(8, 2 * thread_count())))
    return face, barycentric, depth


def visible_numba(faces: torch.Tensor, screen: Screen, height: int, width: int) -> torch.Tensor:
    """Face ids (V, H, W) alone, as `rasterise_numba`."""
    face = torch.empty(screen.position.shape[0], height, width, dtype=torch.int32, device="cpu")
    face_array, face_buffer = faces.numpy(), face.numpy()

    def work(view: int, top: int, end: int) -> None:
        depth_buffer = np.empty((end - top, width), np.float32)
        fill_band(screen, face_array, view, top, depth_buffer, face_buffer[view, top:end])

    run_jobs(work, bands(len(face), height, max(8, 2 * thread_count())))
    return face
