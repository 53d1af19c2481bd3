"""Textures of a mesh painted anew where they may change: material after material, so many texels at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..meshes.mesh import Material, Mesh
from ..progress import Progress, Stage
from .fine_surface import FineSurface
from .material_names import material_of_faces
from .texture_space import Texels, enlarged, texels_of, with_gutter

CHUNK = 1 << 18  # texels looked up at once
DONE = 100  # steps of the progress
# Writes the new values of P texels into a flat texture (H * W, C) uint8, and gives the weights (P,) of the region
# there. It is told the texels' places in the texture (P,), their faces (P,) of the fine surface with barycentrics
# (P, 3), and the material.
PaintChunk = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Material], torch.Tensor]


@dataclass(frozen=True)
class ChangedTexels:
    """How many texels of a ``material``'s texture of ``height`` x ``width`` texels were ``changed``."""

    material: str
    height: int
    width: int
    changed: int


@dataclass(frozen=True)
class TextureEdit:
    """The ``mesh`` with its new textures, and what changed in which of them."""

    mesh: Mesh
    textures: tuple[ChangedTexels, ...]

    def unless_same(self, original: Mesh) -> TextureEdit:
        """This edit, but with the very same ``original`` mesh where no texel changed."""
        return self if any(texture.changed for texture in self.textures) else replace(self, mesh=original)


def repaint(
    mesh: Mesh,
    surface: FineSurface,
    may_change: torch.Tensor,
    slot: str,
    scale: int,
    paint: PaintChunk,
    progress: Progress,
    first: int,
) -> TextureEdit:
    """``mesh`` with the texture ``slot`` of every material of the faces ``may_change`` (M,) bool enlarged ``scale``
    times and painted, where any texel changes.

    All of these materials have that texture. Texels that show other faces stay. ``progress`` goes on from ``first`` of
    ``DONE``.
    """
    materials, found = list(mesh.materials), []
    index = material_of_faces(mesh)
    used = torch.unique(index[may_change]).tolist()
    share = (DONE - first) / max(len(used), 1)
    for done, number in enumerate(used):
        stage = Stage(progress, first + round(done * share), first + round((done + 1) * share), DONE)
        material = materials[number]
        old = enlarged(getattr(material, slot), scale, material.repeat).to(mesh.vertices.device)
        size = (old.shape[0], old.shape[1])
        texels = texels_of(mesh, surface, may_change, index == number, size)
        new, count = _painted(old, texels, material, paint, stage)
        found.append(ChangedTexels(material.name, *size, count))
        if count:
            materials[number] = replace(material, **{slot: new.cpu()})
    progress(DONE, DONE)
    return TextureEdit(mesh.with_(materials=tuple(materials)), tuple(found))


def _painted(
    old: torch.Tensor, texels: Texels, material: Material, paint: PaintChunk, progress: Progress
) -> tuple[torch.Tensor, int]:
    """The texture (H, W, C) uint8 with its new values, and how many of the ``texels`` changed."""
    new = old.clone()
    flat = new.view(-1, new.shape[-1])
    weight = torch.zeros(len(texels.index), device=old.device)
    for start in range(0, len(weight), CHUNK):
        progress(start, len(weight))
        part = slice(start, start + CHUNK)
        weight[part] = paint(flat, texels.index[part], texels.face[part], texels.barycentric[part], material)
    count = int((new != old).any(-1).sum())
    return with_gutter(old, new, texels, weight), count
