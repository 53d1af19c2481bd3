"""Compiled z-buffer: one job per view and band of rows."""

from __future__ import annotations

import numpy as np
import torch

from .kernels import kernel, run_jobs, thread_count
from .screen import OUTSIDE, Screen

Array = np.ndarray


@kernel
def fill_triangles(position, depth, corners, names, top, depth_buffer, face_buffer):  # type: ignore[no-untyped-def]
    """Draw triangles into the rows ``top`` and below; nearest wins, then the lower name.

    ``position`` (N, 2) int32, ``depth`` (N,) float32, ``corners`` (T, 3) int32, ``names`` (T,) int32 or empty where a
    triangle's name is its index; both buffers (rows, W).
    """
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
        # edge functions at the centre of the first pixel; a pixel exactly on an edge belongs to it if top or left
        px, py = first_x * 256 + 128, first_y * 256 + 128
        bias0 = 0 if y2 < y1 or (y2 == y1 and x2 > x1) else -1
        bias1 = 0 if y0 < y2 or (y0 == y2 and x0 > x2) else -1
        bias2 = 0 if y1 < y0 or (y1 == y0 and x1 > x0) else -1
        row0 = (x2 - x1) * (py - y1) - (y2 - y1) * (px - x1) + bias0
        row1 = (x0 - x2) * (py - y2) - (y0 - y2) * (px - x2) + bias1
        row2 = (x1 - x0) * (py - y0) - (y1 - y0) * (px - x0) + bias2
        right0, right1, right2 = (y2 - y1) * 256, (y0 - y2) * 256, (y1 - y0) * 256
        down0, down1, down2 = (x2 - x1) * 256, (x0 - x2) * 256, (x1 - x0) * 256
        slope = -(np.float64(right1) * z1 + np.float64(right2) * z2) * inverse
        for y in range(first_y - top, last_y - top + 1):
            e0, e1, e2 = row0, row1, row2
            begin_z = z0 + (np.float64(e1 - bias1) * z1 + np.float64(e2 - bias2) * z2) * inverse
            entered = False
            for x in range(first_x, last_x + 1):
                if (e0 | e1 | e2) >= 0:
                    entered = True
                    z = np.float32(begin_z + np.float64(x - first_x) * slope)
                    nearest = depth_buffer[y, x]
                    if z < nearest or (z == nearest and name < face_buffer[y, x]):
                        if z >= np.float32(-1.0):
                            depth_buffer[y, x] = z
                            face_buffer[y, x] = name
                elif entered:
                    break
                e0 -= right0
                e1 -= right1
                e2 -= right2
            row0 += down0
            row1 += down1
            row2 += down2


@kernel
def resolve_barycentrics(clip, faces, face_buffer, top, height, barycentric):  # type: ignore[no-untyped-def]
    """Perspective-correct barycentrics (rows, W, 3) of the pixel centres, clamped to the triangle."""
    rows, width = face_buffer.shape
    for row in range(rows):
        py = 1.0 - (top + row + 0.5) * 2.0 / height
        for column in range(width):
            face = face_buffer[row, column]
            if face < 0:
                barycentric[row, column, 0] = 0.0
                barycentric[row, column, 1] = 0.0
                barycentric[row, column, 2] = 0.0
                continue
            px = (column + 0.5) * 2.0 / width - 1.0
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            w0, w1, w2 = np.float64(clip[i, 3]), np.float64(clip[j, 3]), np.float64(clip[k, 3])
            x0, y0 = clip[i, 0] - px * w0, clip[i, 1] - py * w0
            x1, y1 = clip[j, 0] - px * w1, clip[j, 1] - py * w1
            x2, y2 = clip[k, 0] - px * w2, clip[k, 1] - py * w2
            a0, a1, a2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
            inverse = 1.0 / (a0 + a1 + a2)
            b0 = min(max(a0 * inverse, 0.0), 1.0)
            b1 = min(max(a1 * inverse, 0.0), 1.0)
            b2 = min(max(a2 * inverse, 0.0), 1.0)
            total = 1.0 / (b0 + b1 + b2)
            barycentric[row, column, 0] = b0 * total
            barycentric[row, column, 1] = b1 * total
            barycentric[row, column, 2] = b2 * total


def bands(views: int, height: int, jobs: int) -> list[tuple[int, int, int]]:
    """(view, first row, end row) of at least ``jobs`` pieces of roughly equal size."""
    per_view = max(1, min(-(-jobs // max(views, 1)), height // 16 or 1))
    edges = [height * i // per_view for i in range(per_view + 1)]
    return [(view, edges[i], edges[i + 1]) for view in range(views) for i in range(per_view)]


def fill_band(screen: Screen, faces: Array, view: int, top: int, depth_buffer: Array, face_buffer: Array) -> None:
    """Clear both buffers (rows, W) and draw one view into them; ``faces`` (M, 3) int32."""
    depth_buffer.fill(1.0)
    face_buffer.fill(-1)
    everything = np.empty(0, np.int32)
    position, depth = screen.position[view].numpy(), screen.depth[view].numpy()
    fill_triangles(position, depth, faces, everything, top, depth_buffer, face_buffer)
    mine = screen.piece_view == view
    if bool(mine.any()):
        position, depth = screen.piece_position[mine].reshape(-1, 2).numpy(), screen.piece_depth[mine].reshape(-1).numpy()
        corners = np.arange(len(position), dtype=np.int32).reshape(-1, 3)
        names = screen.piece_face[mine].int().numpy()
        fill_triangles(position, depth, corners, names, top, depth_buffer, face_buffer)


def rasterise_numba(
    clip: torch.Tensor, faces: torch.Tensor, screen: Screen, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Face ids, barycentrics and depths of ``clip`` (V, N, 4) float32 and ``faces`` (M, 3) int32, both contiguous."""
    views = clip.shape[0]
    face = torch.empty(views, height, width, dtype=torch.int32)
    depth = torch.empty(views, height, width)
    barycentric = torch.empty(views, height, width, 3)
    clip_array, face_array = clip.numpy(), faces.numpy()
    face_buffer, depth_buffer, barycentric_buffer = face.numpy(), depth.numpy(), barycentric.numpy()

    def work(view: int, top: int, end: int) -> None:
        rows = face_buffer[view, top:end]
        fill_band(screen, face_array, view, top, depth_buffer[view, top:end], rows)
        resolve_barycentrics(clip_array[view], face_array, rows, top, height, barycentric_buffer[view, top:end])

    run_jobs(work, bands(views, height, 2 * thread_count()))
    return face, barycentric, depth
