"""The lookup of surface points in views, compiled for the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..kernels import kernel, run_jobs
from .packed_views import PackedViews

CHUNK = 1 << 15


def project_numba(
    points: torch.Tensor, normals: torch.Tensor, views: PackedViews
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums (P, C) and (P,) and qualities (P,) at ``points`` (P, 3) with unit ``normals`` (P, 3)."""
    count, maps = points.shape[0], views.maps
    weighted = np.zeros((count, maps.images.shape[-1]), dtype=np.float32)
    weights, quality = np.zeros(count, dtype=np.float32), np.zeros(count, dtype=np.float32)
    tensors = (points, normals, views.cameras, maps.images, maps.confidence, maps.depth, maps.occluder, views.weights)
    inputs: list[Any] = [tensor.detach().contiguous().numpy() for tensor in tensors]
    inputs += [views.power, views.least_cosine, views.bias, views.tint_confidence, weighted, weights, quality]

    def work(start: int, stop: int) -> None:
        _project(start, stop, *inputs)

    run_jobs(work, [(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)])
    return torch.from_numpy(weighted), torch.from_numpy(weights), torch.from_numpy(quality)


@kernel
def _project(  # type: ignore[no-untyped-def]
    start,
    stop,
    points,
    normals,
    cameras,
    images,
    confidence,
    depth,
    occluder,
    view_weights,
    power,
    least_cosine,
    bias,
    tint_confidence,
    weighted,
    weights,
    quality,
):
    """Write the sums of points start..stop."""
    views, height, width, channels = images.shape
    _, rows, columns = depth.shape
    for p in range(start, stop):
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        nx, ny, nz = normals[p, 0], normals[p, 1], normals[p, 2]
        for v in range(views):
            dx, dy, dz = px - cameras[v, 9], py - cameras[v, 10], pz - cameras[v, 11]
            along = -(cameras[v, 6] * dx + cameras[v, 7] * dy + cameras[v, 8] * dz)
            if along <= 0.0:
                continue
            divisor = 1.0
            if cameras[v, 13] > 0.5:
                cosine = -(nx * dx + ny * dy + nz * dz) / math.sqrt(dx * dx + dy * dy + dz * dz)
                divisor = along
            else:
                cosine = nx * cameras[v, 6] + ny * cameras[v, 7] + nz * cameras[v, 8]
            if cosine <= least_cosine:
                continue
            scale = cameras[v, 12] / divisor
            right = cameras[v, 0] * dx + cameras[v, 1] * dy + cameras[v, 2] * dz
            up = cameras[v, 3] * dx + cameras[v, 4] * dy + cameras[v, 5] * dz
            x = (right * scale * (height / width) + 1.0) * 0.5
            y = (1.0 - up * scale) * 0.5
            if x < 0.0 or x > 1.0 or y < 0.0 or y > 1.0:
                continue
            column, row = math.floor(x * columns - 0.5), math.floor(y * rows - 0.5)
            farthest = -1.0
            for i in range(2):
                for j in range(2):
                    value = depth[v, min(max(row + i, 0), rows - 1), min(max(column + j, 0), columns - 1)]
                    if value < 1e30 and value > farthest:
                        farthest = value
            if farthest >= 0.0 and along > farthest + bias:
                continue
            fx, fy = x * width - 0.5, y * height - 0.5
            left, top = math.floor(fx), math.floor(fy)
            fx -= left
            fy -= top
            x0, x1 = min(max(left, 0), width - 1), min(max(left + 1, 0), width - 1)
            y0, y1 = min(max(top, 0), height - 1), min(max(top + 1, 0), height - 1)
            w00, w01 = (1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx
            w10, w11 = fy * (1.0 - fx), fy * fx
            sure = (
                w00 * confidence[v, y0, x0]
                + w01 * confidence[v, y0, x1]
                + w10 * confidence[v, y1, x0]
                + w11 * confidence[v, y1, x1]
            )
            if along > occluder[v, min(int(y * height), height - 1), min(int(x * width), width - 1)]:
                sure *= tint_confidence
            weight = view_weights[v] * cosine**power * sure
            if weight <= 0.0:
                continue
            weights[p] += weight
            if cosine * sure > quality[p]:
                quality[p] = cosine * sure
            for c in range(channels):
                weighted[p, c] += weight * (
                    w00 * images[v, y0, x0, c]
                    + w01 * images[v, y0, x1, c]
                    + w10 * images[v, y1, x0, c]
                    + w11 * images[v, y1, x1, c]
                )
