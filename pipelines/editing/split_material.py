"""A material of their own for some faces, so that it can change without the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..meshes.mesh import Mesh
from .material_names import material_of_faces, materials_of


def split_material(mesh: Mesh, chosen: torch.Tensor) -> Mesh:
    """The same mesh in which no other face shares a material, or vertex colours, with the ``chosen`` ones (M,) bool.

    Where other faces use a material too, the chosen ones get a copy of it, called "NAME (edited)", behind the others.
    Where the mesh has vertex colours, vertices that other faces use too are doubled at the end of the list; without
    them vertices stay shared, as what is computed from the faces around them shall not change. The other faces keep
    their triples, and all vertices with their attributes and all materials their places; the mesh looks the same. A
    mesh where nothing is shared comes back as it is.
    """
    chosen = chosen.to(mesh.faces.device)
    materials, index = list(materials_of(mesh)), material_of_faces(mesh).clone()
    outside = set(index[~chosen].unique().tolist())
    names = {material.name for material in materials}
    for number in index[chosen].unique().tolist():
        if number in outside:
            name = _unused(materials[number].name, names)
            names.add(name)
            index[chosen & (index == number)] = len(materials)
            materials.append(replace(materials[number], name=name))
    if len(materials) > len(materials_of(mesh)):
        mesh = mesh.with_(materials=tuple(materials), face_material=index)
    return mesh if mesh.colors is None else _separated(mesh, chosen)


def _separated(mesh: Mesh, chosen: torch.Tensor) -> Mesh:
    """``mesh`` with the vertices doubled that both chosen and other faces use."""
    count = len(mesh.vertices)
    use = torch.zeros(2, count, dtype=torch.bool, device=mesh.faces.device)
    use[0, mesh.faces[~chosen].reshape(-1)] = True
    use[1, mesh.faces[chosen].reshape(-1)] = True
    shared = (use[0] & use[1]).nonzero()[:, 0]
    if not len(shared):
        return mesh
    twin = torch.arange(count, device=mesh.faces.device)
    twin[shared] = torch.arange(count, count + len(shared), device=mesh.faces.device)
    names = ("vertices", "uv", "normals", "tangents", "colors")
    values = {name: getattr(mesh, name) for name in names if getattr(mesh, name) is not None}
    doubled = {name: torch.cat((value, value[shared])) for name, value in values.items()}
    return mesh.with_(faces=torch.where(chosen[:, None], twin[mesh.faces], mesh.faces), **doubled)


def _unused(name: str, names: set[str]) -> str:
    """The name of an edited copy that no other material has."""
    edited, number = f"{name} (edited)", 2
    while edited in names:
        edited, number = f"{name} (edited {number})", number + 1
    return edited
