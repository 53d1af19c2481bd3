"""Values between the centres of sparse voxels.

Source: specs/pixal3d.md section 4, step 6: trilinear weights of the voxels that are there, made to add up to one again;
counting absent voxels as zero darkens nearly all of a texture.
"""

from __future__ import annotations

import numpy as np
import torch

from ..errors import Bundle3DError
from ..kernels import kernel, resolve_backend, run_jobs
from .dual_grid import check_voxels, sorted_voxels

Array = np.ndarray

PIECE = 1 << 16  # points per job


class VoxelLookup:
    """``values`` (V, C) at the centres of the voxels ``coords`` (V, 3) of ``resolution``^3 over [-0.5, 0.5]^3.

    Raises Bundle3DError for shapes that do not fit, values that are not finite, and voxels out of the lattice or twice.
    """

    def __init__(self, coords: torch.Tensor, values: torch.Tensor, resolution: int, backend: str = "auto") -> None:
        check_voxels(coords, resolution)
        if values.ndim != 2 or values.shape[0] != coords.shape[0]:
            raise Bundle3DError(
                f"Expected values of shape ({coords.shape[0]}, C) for as many voxels, but got {tuple(values.shape)}; "
                "decode shape and texture of the same voxels."
            )
        if not bool(torch.isfinite(values).all()):
            raise Bundle3DError(
                "Expected finite values of voxels, but some are NaN or infinite; start ComfyUI with --fp32-vae, or "
                "draw another seed."
            )
        self.resolution = resolution
        self.keys, order = sorted_voxels(coords, resolution)
        self.values = values.detach().float().index_select(0, order).contiguous()
        self.backend = resolve_backend(backend, self.values)
        if self.backend == "numba":
            side = resolution + 1
            columns = np.bincount(self.keys.numpy() // side, minlength=side * side)
            self.starts = np.concatenate(([0], np.cumsum(columns))).astype(np.int32)

    def sample(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (Q, C) at ``points`` (Q, 3), and which (Q,) bool have a voxel near; the others are zero."""
        places = points.detach().to(self.values)
        if self.backend == "torch":
            return self._sample_torch(places)
        count = places.shape[0]
        places = places.contiguous()
        sampled = torch.zeros(count, self.values.shape[1])
        found = torch.zeros(count, dtype=torch.bool)
        keys, values = self.keys.numpy(), self.values.numpy()
        arrays = places.numpy(), sampled.numpy(), found.numpy()
        run_jobs(
            lambda start: _sample(
                keys, self.starts, values, self.resolution, start, min(start + PIECE, count), *arrays
            ),
            [(start,) for start in range(0, count, PIECE)],
        )
        return sampled, found

    def _sample_torch(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        place = (points.double() + 0.5) * self.resolution - 0.5
        base = place.floor()
        share = place - base
        side = self.resolution + 1
        total = torch.zeros(points.shape[0], dtype=torch.float64, device=points.device)
        sampled = torch.zeros(points.shape[0], self.values.shape[1], dtype=torch.float64, device=points.device)
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1], device=points.device)
            voxel = base.long() + step
            within = ((voxel >= 0) & (voxel < self.resolution)).all(1)
            key = (voxel[:, 0] * side + voxel[:, 1]) * side + voxel[:, 2]
            position = torch.searchsorted(self.keys, key).clamp(max=max(self.keys.shape[0] - 1, 0))
            hit = torch.nonzero(within & (self.keys[position] == key) if len(self.keys) else within & False).squeeze(1)
            weight = torch.where(step.bool(), share[hit], 1.0 - share[hit]).prod(1)
            total.index_add_(0, hit, weight)
            sampled.index_add_(0, hit, weight[:, None] * self.values[position[hit]])
        found = total > 0.0
        return (sampled / total.clamp(min=1e-12)[:, None]).float(), found


@kernel
def _sample(
    keys: Array,
    starts: Array,
    values: Array,
    resolution: int,
    start: int,
    stop: int,
    points: Array,
    sampled: Array,
    found: Array,
) -> None:
    side = resolution + 1
    channels = values.shape[1]
    for q in range(start, stop):
        x = (np.float64(points[q, 0]) + 0.5) * resolution - 0.5
        y = (np.float64(points[q, 1]) + 0.5) * resolution - 0.5
        z = (np.float64(points[q, 2]) + 0.5) * resolution - 0.5
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        x -= i
        y -= j
        z -= k
        total = 0.0
        for column in range(4):
            p, r = i + (column & 1), j + (column >> 1)
            if p < 0 or r < 0 or p >= resolution or r >= resolution:
                continue
            flat = (x if column & 1 else 1.0 - x) * (y if column >> 1 else 1.0 - y)
            low, high = starts[p * side + r], starts[p * side + r + 1]
            base = (p * side + r) * side
            wanted = base + max(k, 0)
            last = high
            while low < high:
                middle = (low + high) // 2
                if keys[middle] < wanted:
                    low = middle + 1
                else:
                    high = middle
            for n in range(low, min(low + 2, last)):
                step = keys[n] - base - k
                if step > 1:
                    break
                weight = flat * (z if step == 1 else 1.0 - z)
                total += weight
                for channel in range(channels):
                    sampled[q, channel] += weight * values[n, channel]
        if total > 0.0:
            found[q] = True
            scale = 1.0 / max(total, 1e-12)
            for channel in range(channels):
                sampled[q, channel] *= scale
