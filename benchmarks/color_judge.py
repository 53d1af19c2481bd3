"""Which of the ten colours the parts of a mesh have: mean albedo, the mean colour divided by the mean light."""

from __future__ import annotations

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.srgb import linear_from_srgb
from bundle3d.pipelines.rendering.environment import studio
from bundle3d.pipelines.rendering.shading import Surface, shade
from bundle3d.pipelines.training.shapes import COLORS

Array = np.ndarray

# The cameras stand about level, so that surfaces which face up or down are seen askew or not at all.
LEVEL = 0.9
WHITE = np.array((0.9505, 1.0, 1.089))
TO_XYZ = np.array(((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)))  # IEC 61966-2-1


def mean_albedo(mesh: Mesh, faces: torch.Tensor) -> Array:
    """Linear base colour (3,) in [0, 1] of those ``faces`` (M,) bool of a mesh whose vertex colours were seen in the
    studio's light. NaN where there are none."""
    assert mesh.colors is not None
    cross = mesh.face_normals()
    area = cross.norm(dim=-1)
    normals = torch.nn.functional.normalize(cross, dim=-1)
    steep = faces & (normals[:, 1].abs() < LEVEL)
    weight = area * (steep if bool(steep.any()) else faces)
    weight = weight / weight.sum()
    seen = mesh.colors[:, :3][mesh.faces].mean(1)
    black, white = (_lit(normals, value) for value in (0.0, 1.0))
    seen, black, white = ((weight[:, None] * color).sum(0) for color in (seen, black, white))
    return ((seen - black) / (white - black)).clamp(0.0, 1.0).double().numpy()


def nearest_color(albedo: Array) -> str:
    """The name of the colour nearest to a linear ``albedo`` (3,) in CIELAB; "none" for NaN."""
    if not np.isfinite(albedo).all():
        return "none"
    distances = {
        name: float(np.linalg.norm(_lab(albedo) - _lab(np.asarray(linear_from_srgb(np.array(color))))))
        for name, color in COLORS.items()
    }
    return min(distances, key=lambda name: distances[name])


def _lit(normals: torch.Tensor, base: float) -> torch.Tensor:
    """How a rough grey of linear ``base`` looks (M, 3) from level eyes in front of the surfaces."""
    count = len(normals)
    zero = normals.new_zeros(count)
    surface = Surface(
        base_color=normals.new_full((count, 3), base),
        metallic=zero,
        roughness=zero + 1.0,
        occlusion=zero + 1.0,
        emissive=normals.new_zeros(count, 3),
        unlit=torch.zeros(count, dtype=torch.bool),
    )
    eyes = torch.nn.functional.normalize(normals * normals.new_tensor((1.0, 0.0, 1.0)), dim=-1)
    return shade(surface, normals, eyes, studio())


def _lab(linear: Array) -> Array:
    """CIELAB (3,) of linear sRGB (3,)."""
    ratio = TO_XYZ @ linear / WHITE
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array((116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)))
