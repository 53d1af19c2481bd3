"""Features of points from three axis-aligned feature planes.

Source: specs/kiss3dgen.md section 5.6.
"""

from __future__ import annotations

import torch
from torch.nn import functional

# The coordinates that run along the columns and the rows of each plane.
PLANE_AXES = ((0, 1), (0, 2), (2, 1))


def sample_planes(planes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features (B, N, 3 * C) of ``points`` (B, N, 3), in the model's frame, in ``planes`` (B, 3, C, h, w).

    Bilinear; a plane spans [-1, 1], and what lies outside fades to zero within half a texel.
    """
    grid = torch.stack([points[..., list(axes)] for axes in PLANE_AXES], dim=1).to(planes)
    sampled = functional.grid_sample(
        planes.flatten(0, 1), grid.flatten(0, 1)[:, None], mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return sampled[:, :, 0].unflatten(0, (-1, 3)).permute(0, 3, 1, 2).flatten(2)


def sample_planes_at(planes: torch.Tensor, coordinates: torch.Tensor) -> torch.Tensor:
    """Features (3, C, N, N) of ``planes`` (3, C, h, w) at each pair of ``coordinates`` (N,), rows before columns.

    Those of the point (x[i], y[j], z[k]) of a regular grid are ``[0, :, j, i]``, ``[1, :, k, i]`` and ``[2, :, j, k]``.
    """
    rows, columns = torch.meshgrid(coordinates, coordinates, indexing="ij")
    grid = torch.stack((columns, rows), dim=-1).to(planes).expand(3, -1, -1, -1)
    return functional.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
