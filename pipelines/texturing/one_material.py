"""Meshes for places that know one material per mesh and no base colour factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..meshes.mesh import Material, Mesh
from ..meshes.srgb import linear_from_srgb, srgb_from_linear
from .merge_materials import merge_materials


def one_material(mesh: Mesh) -> Mesh:
    """The mesh with at most one material, whose base colour factor is white.

    Factors are multiplied into the texture, or into vertex colours where there is none. Several materials with textures
    are merged into an atlas. Of several without, base colours become vertex colours (vertices are doubled at their
    borders), the rest comes from the one with the most faces.
    """
    if len(mesh.materials) > 1:
        if mesh.uv is None or not any(material.textures for material in mesh.materials):
            return _painted(mesh)
        mesh = merge_materials(mesh)
    if not mesh.materials:
        return mesh
    material = mesh.materials[0]
    if material.base_color_factor == (1.0, 1.0, 1.0, 1.0):
        return mesh
    if material.base_color_texture is None or mesh.uv is None:
        return _colored(mesh, torch.tensor(material.base_color_factor).expand(len(mesh.vertices), 4), material)
    texture = _multiplied(material.base_color_texture, material.base_color_factor)
    white = replace(material, base_color_texture=texture, base_color_factor=(1.0, 1.0, 1.0, 1.0))
    return mesh.with_(materials=(white,))


def _colored(mesh: Mesh, factors: torch.Tensor, material: Material) -> Mesh:
    """Vertex colours multiplied by ``factors`` (N, 4); alpha only where some of it is not 1."""
    colors = factors.to(mesh.vertices)
    if mesh.colors is not None:
        colors = colors * torch.nn.functional.pad(mesh.colors, (0, 4 - mesh.colors.shape[1]), value=1.0)
    if bool((colors[:, 3] == 1.0).all()):
        colors = colors[:, :3]
    plain = replace(material, base_color_factor=(1.0, 1.0, 1.0, 1.0), base_color_texture=None)
    return mesh.with_(colors=colors, materials=(plain,), face_material=None)


def _painted(mesh: Mesh) -> Mesh:
    """Several materials without textures as vertex colours."""
    groups = torch.zeros(len(mesh.faces), dtype=torch.int64) if mesh.face_material is None else mesh.face_material.cpu()
    count = len(mesh.materials)
    keys = (mesh.faces.cpu() * count + groups[:, None]).reshape(-1)
    kept, corners = torch.unique(keys, return_inverse=True)
    vertex, group = kept // count, kept % count

    def pick(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values.index_select(0, vertex.to(values.device))

    factors = torch.tensor([material.base_color_factor for material in mesh.materials])[group]
    main = mesh.materials[int(torch.bincount(groups, minlength=count).argmax())]
    split = mesh.with_(
        vertices=mesh.vertices.index_select(0, vertex.to(mesh.vertices.device)),
        faces=corners.reshape(-1, 3).to(mesh.faces.device),
        uv=pick(mesh.uv),
        normals=pick(mesh.normals),
        tangents=pick(mesh.tangents),
        colors=pick(mesh.colors),
    )
    return _colored(split, factors, main)


def _multiplied(texture: torch.Tensor, factor: tuple[float, float, float, float]) -> torch.Tensor:
    """A uint8 sRGB texture times a linear factor, channel by channel through a table."""
    levels = np.arange(256) / 255.0
    tables = [srgb_from_linear(linear_from_srgb(levels) * value) for value in factor[:3]] + [levels * factor[3]]
    image = texture.cpu().numpy()
    channels = [np.rint(tables[i] * 255.0).astype(np.uint8)[image[..., i]] for i in range(image.shape[2])]
    return torch.from_numpy(np.stack(channels, axis=-1))
