"""A part of the surface that was painted in texture space."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Mesh, uv_of
from ..rendering.texture import sample_texture
from .material_names import faces_of_material, material_of_faces, materials_of
from .surface_points import Part, SurfacePoints

PAINTED = 0.5


def uv_part(mesh: Mesh, mask: torch.Tensor, material: str | None = None) -> Part:
    """What is painted, more than half, in ``mask`` (H, W), whose row 0 is v = 0, on the texture of ``mesh``.

    With ``material`` on the texture of the materials of that name, else on those of all. Where a material repeats its
    texture, the mask repeats with it; otherwise it continues beyond its edge. Raises Bundle3DError for a mesh without
    texture coordinates, a mask of another shape, and a name that no material has.
    """
    uv_of(mesh)
    if mask.ndim != 2 or not mask.numel():
        raise Bundle3DError(
            f"Expected one mask (H, W) painted on the texture, but got {tuple(mask.shape)}; give one mask per mesh."
        )
    everywhere = torch.ones(len(mesh.faces), dtype=torch.bool, device=mesh.faces.device)
    chosen = everywhere if material is None else faces_of_material(mesh, material)
    repeats = torch.tensor([item.repeat for item in materials_of(mesh)], device=mesh.faces.device)
    wraps, image = repeats[material_of_faces(mesh)], mask.float()[..., None]

    def part(points: SurfacePoints) -> torch.Tensor:
        assert points.uv is not None
        inside = torch.zeros(len(points), dtype=torch.bool, device=points.face.device)
        for repeat in (True, False):
            some = (chosen[points.face] & (wraps[points.face] == repeat)).nonzero()[:, 0]
            inside[some] = sample_texture(image.to(points.uv), points.uv[some], repeat)[:, 0] > PAINTED
        return inside

    return part
