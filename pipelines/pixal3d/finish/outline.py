"""The outline of an object in its first picture, within which an asset is kept.

Flows place surfaces to about a voxel of their latents; the picture says to a pixel where the object ends. Source:
specs/pixal3d.md sections 2.2 and 2.3 (the camera).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ...volumes.projection import GridCamera

STEP = 1e-3  # sides of the cube, over which shifts in the picture are measured


@dataclass(frozen=True)
class Outline:
    """``mask`` (S, S) in [0, 1] of what the front ``camera`` sees of an object ``mesh_scale`` as large as the cube.

    Surfaces are moved by ``reach`` sides of the cube at most: what is further outside is no error of a boundary.
    """

    mask: torch.Tensor
    camera: GridCamera
    mesh_scale: float = 1.0
    reach: float = 0.06

    def within(self, vertices: torch.Tensor) -> torch.Tensor:
        """``vertices`` (N, 3) of the cube [-0.5, 0.5]^3; those that appear outside the mask are moved to its nearest
        edge, along the picture's plane, so that their depths stay. All others stay as they are, to the bit."""
        solid = self.mask.detach().cpu().numpy() > 0.5
        if solid.all() or not solid.any():
            return vertices
        size = len(solid)
        points = vertices.detach().cpu().double()
        places = self._places(points) * size
        pixels = places.floor().long().clamp(0, size - 1)
        nearest = ndimage.distance_transform_edt(~solid, return_distances=False, return_indices=True)
        across, down = pixels.unbind(-1)
        outside = torch.from_numpy(~solid)[down, across]
        rows = outside.nonzero().squeeze(1)
        across, down = across[rows], down[rows]
        found = torch.from_numpy(np.ascontiguousarray(nearest)).flip(0)[:, down, across].T
        wanted = (found + 0.5 - places[rows]).double()
        far = wanted.norm(dim=-1, keepdim=True)
        wanted = wanted * ((far - 0.5).clamp(min=0.0) / far)
        moved = torch.zeros(len(rows), 3, dtype=torch.float64)
        for axis in range(2):
            step = torch.zeros(3, dtype=torch.float64)
            step[axis] = STEP
            slope = (self._places(points[rows] + step) * size - places[rows])[:, axis] / STEP
            moved[:, axis] = wanted[:, axis] / slope
        length = moved.norm(dim=-1, keepdim=True)
        moved = moved * (self.reach / length.clamp(min=1e-12)).clamp(max=1.0)
        out = vertices.clone()
        out[rows.to(out.device)] = (points[rows] + moved).to(out)
        return out

    def _places(self, points: torch.Tensor) -> torch.Tensor:
        return self.camera.project(points / self.mesh_scale)
