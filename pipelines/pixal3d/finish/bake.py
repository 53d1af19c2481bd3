"""Decoded material, voxel by voxel, as the textures of a mesh.

Source: specs/pixal3d.md section 4, steps 6 and 7.
"""

from __future__ import annotations

import torch

from ...meshes.mesh import Material, Mesh
from ...meshes.padding import pad_texture
from ...meshes.triangle_tree import TriangleTree
from ...progress import Progress, silent
from ...texturing.texel_map import rasterise_uv
from ...volumes.voxel_lookup import VoxelLookup
from ..decode import ALPHA, BASE_COLOR, METALLIC, ROUGHNESS

CHUNK = 1 << 19  # texels looked up at once
CHANNELS = 6


def bake_material(
    mesh: Mesh,
    tree: TriangleTree,
    material: VoxelLookup,
    resolution: int,
    places: torch.Tensor | None = None,
    alpha_mode: str = "OPAQUE",
    double_sided: bool = False,
    progress: Progress = silent,
) -> Material:
    """The material of ``mesh`` (with uv), looked up at the nearest points of the decoded surface ``tree``.

    ``places`` (N, 3) are those of the decoded vertices among the voxels, where ``tree`` has them elsewhere.
    ``material`` has six channels, decode.py says which. The base colour is (R, R, 4) with alpha, the other texture
    holds roughness in green and metallic in blue; texels without any voxel near take on the colours around them.
    ``progress`` may cancel between chunks. Raises Bundle3DError for a mesh without uv.
    """
    places = tree.vertices if places is None else places
    texels = rasterise_uv(mesh, resolution)
    flat = torch.zeros(resolution * resolution, CHANNELS, dtype=torch.uint8, device=texels.face.device)
    known = texels.mask.reshape(-1).clone()
    covered = torch.nonzero(known).squeeze(1)
    for start in range(0, covered.shape[0], CHUNK):
        at = covered[start : start + CHUNK]
        corners = mesh.faces.index_select(0, texels.face.reshape(-1).index_select(0, at).long())
        weights = texels.barycentric.reshape(-1, 3).index_select(0, at)
        points = torch.zeros_like(weights)
        for i in range(3):
            points += weights[:, i, None] * mesh.vertices.index_select(0, corners[:, i])
        values, found = material.sample(tree.closest(points).interpolate(places, tree.faces))
        flat[at] = (values.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        known[at] = found
        progress(min(start + CHUNK, covered.shape[0]), covered.shape[0])
    image, mask = flat.reshape(resolution, resolution, CHANNELS), known.reshape(resolution, resolution)
    order = [*range(BASE_COLOR.start, BASE_COLOR.stop), ALPHA, ROUGHNESS, METALLIC]
    padded = pad_texture(image[..., order], mask).cpu()
    occlusion = torch.full_like(padded[..., :1], 255)
    return Material(
        name="pixal3d",
        metallic_factor=1.0,
        roughness_factor=1.0,
        base_color_texture=padded[..., :4].contiguous(),
        orm_texture=torch.cat((occlusion, padded[..., 4:]), dim=-1),
        alpha_mode=alpha_mode,
        double_sided=double_sided,
        repeat=False,
    )
