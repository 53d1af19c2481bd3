"""Materials by their names."""

from __future__ import annotations

import torch

from ..errors import Bundle3DError
from ..meshes.mesh import Material, Mesh

UNNAMED = Material(roughness_factor=0.9)  # as pictures show a mesh that has no material
MOST_NAMES = 12  # in a refusal


def materials_of(mesh: Mesh) -> tuple[Material, ...]:
    """The materials of a mesh, at least one."""
    return mesh.materials or (UNNAMED,)


def material_of_faces(mesh: Mesh) -> torch.Tensor:
    """(M,) int64 index of each face's material in ``materials_of``."""
    if mesh.face_material is None:
        return torch.zeros(len(mesh.faces), dtype=torch.int64, device=mesh.faces.device)
    return mesh.face_material.clamp(0, len(materials_of(mesh)) - 1)


def faces_of_material(mesh: Mesh, name: str) -> torch.Tensor:
    """(M,) bool: the faces with a material of that name. Raises Bundle3DError where there is none, with those there."""
    names = [material.name for material in materials_of(mesh)]
    if name not in names:
        raise Bundle3DError(
            f"Expected the name of a material, but got {name!r}; choose one of those that the mesh has: "
            f"{listed(names)}."
        )
    chosen = torch.tensor([other == name for other in names], device=mesh.faces.device)
    return chosen[material_of_faces(mesh)]


def listed(names: list[str]) -> str:
    """The first of ``names``, each once, and how many more there are."""
    distinct = list(dict.fromkeys(names))
    more = len(distinct) - MOST_NAMES
    return ", ".join(distinct[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
