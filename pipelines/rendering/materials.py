"""Material values at points of a mesh: factors, textures with mip levels, vertex colours, bump.

Follows the glTF 2.0 metallic-roughness rules; textures are filtered in linear light.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ..meshes.mesh import Material, Mesh
from .mipmaps import Texture
from .shading import Surface


@dataclass(frozen=True)
class Points:
    """P visible points: ``face`` (P,) int64, ``barycentric`` (P, 3) and ``uv_step`` (P,), a sample's length in UV."""

    face: torch.Tensor
    barycentric: torch.Tensor
    uv_step: torch.Tensor

    def __getitem__(self, keep: torch.Tensor) -> Points:
        return Points(self.face[keep], self.barycentric[keep], self.uv_step[keep])

    def interpolate(self, faces: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """Attributes (P, C) of per-vertex ``attributes`` (N, C)."""
        corners = faces[self.face]
        parts = (attributes.index_select(0, corners[:, i]) * self.barycentric[:, i : i + 1] for i in range(3))
        return sum(parts, torch.zeros(()))


class MaterialSampler:
    """The materials of one mesh, ready to be asked at points."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.materials = mesh.materials or (Material(roughness_factor=0.9),)
        device = mesh.vertices.device
        self.textures = [
            {
                name: Texture(image, name.startswith(("base", "emissive")), material.repeat, device)
                for name, image in material.textures.items()
                if mesh.uv is not None
            }
            for material in self.materials
        ]

    def material_of(self, face: torch.Tensor) -> torch.Tensor:
        """Index of the material (P,) of faces (P,)."""
        if self.mesh.face_material is None:
            return torch.zeros_like(face)
        return self.mesh.face_material[face].clamp(0, len(self.materials) - 1)

    def see_through_faces(self) -> torch.Tensor:
        """(M,) bool: faces behind which something may show."""
        modes = torch.tensor([material.alpha_mode != "OPAQUE" for material in self.materials], dtype=torch.bool)
        every = torch.arange(self.mesh.faces.shape[0], device=self.mesh.faces.device)
        return modes.to(every.device)[self.material_of(every)]

    def sample(self, points: Points) -> tuple[Surface, torch.Tensor, torch.Tensor]:
        """Surface values, opacity (P,) and tangent-space normals (P, 3) at ``points``."""
        count, device = points.face.shape[0], points.face.device
        surface = Surface(
            torch.zeros(count, 3, device=device),
            torch.zeros(count, device=device),
            torch.zeros(count, device=device),
            torch.zeros(count, device=device),
            torch.zeros(count, 3, device=device),
            torch.zeros(count, dtype=torch.bool, device=device),
        )
        opacity = torch.ones(count, device=device)
        bump = torch.tensor((0.0, 0.0, 1.0), device=device).repeat(count, 1)
        index = self.material_of(points.face)
        for number in index.unique().tolist():
            chosen = (index == number).nonzero().squeeze(1)
            self._sample_one(number, points[chosen], chosen, surface, opacity, bump)
        return surface, opacity, bump

    def _sample_one(
        self,
        number: int,
        points: Points,
        chosen: torch.Tensor,
        surface: Surface,
        opacity: torch.Tensor,
        bump: torch.Tensor,
    ) -> None:
        material, textures = self.materials[number], self.textures[number]
        count, mesh = points.face.shape[0], self.mesh
        uv = None if mesh.uv is None or not textures else points.interpolate(mesh.faces, mesh.uv)

        def texture(name: str, missing: int) -> torch.Tensor:
            if uv is None or name not in textures:
                return bump.new_ones(count, missing)
            return textures[name].sample(uv, points.uv_step)

        base = texture("base_color_texture", 4)
        base = base if base.shape[1] == 4 else torch.cat((base, base.new_ones(count, 1)), dim=1)
        base = base * base.new_tensor(material.base_color_factor)
        if mesh.colors is not None:
            colors = points.interpolate(mesh.faces, mesh.colors)
            base[:, : colors.shape[1]] *= colors
        orm = texture("orm_texture", 3)
        surface.base_color[chosen] = base[:, :3].clamp(0.0, 1.0)
        surface.metallic[chosen] = orm[:, 2] * material.metallic_factor
        surface.roughness[chosen] = orm[:, 1] * material.roughness_factor
        occlusion = orm[:, 0] if material.has_occlusion else torch.ones_like(orm[:, 0])
        surface.occlusion[chosen] = 1.0 + material.occlusion_strength * (occlusion - 1.0)
        surface.emissive[chosen] = texture("emissive_texture", 3)[:, :3] * base.new_tensor(material.emissive_factor)
        surface.unlit[chosen] = material.unlit
        if material.alpha_mode == "MASK":
            opacity[chosen] = (base[:, 3] >= material.alpha_cutoff).to(base.dtype)
        elif material.alpha_mode == "BLEND":
            opacity[chosen] = base[:, 3].clamp(0.0, 1.0)
        if uv is not None and "normal_texture" in textures:
            tilt = 2.0 * texture("normal_texture", 3)[:, :3] - 1.0
            bump[chosen] = torch.cat((tilt[:, :2] * material.normal_scale, tilt[:, 2:]), dim=1)


def plain(surface: Surface, base_color: float | None = None, roughness: float = 0.9) -> Surface:
    """``surface`` as a matte dielectric without emission, optionally of one grey (linear)."""
    color = surface.base_color if base_color is None else torch.full_like(surface.base_color, base_color)
    ones = torch.ones_like(surface.metallic)
    return replace(
        surface,
        base_color=color,
        metallic=torch.zeros_like(ones),
        roughness=ones * roughness,
        occlusion=ones,
        emissive=torch.zeros_like(color),
        unlit=torch.zeros_like(surface.unlit),
    )
