"""Base colour textures that can be painted for some faces of a mesh without showing on others."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import pad

from ..meshes.mesh import Material, Mesh
from ..meshes.padding import pad_texture
from ..meshes.tangents import vertex_tangents
from ..meshes.weld import keep_faces
from ..progress import Progress, silent
from ..rendering.color import linear_to_srgb, srgb_to_linear
from ..texturing.material_images import SLOTS, slot_image
from ..texturing.rebake import rebake
from ..texturing.texel_map import rasterise_uv
from ..texturing.unwrap import unwrap
from .material_names import material_of_faces, materials_of
from .split_material import split_material
from .texture_space import refuse, why_not_unique

READY, TINTED, BARE = range(3)  # a texture to paint on; uv that serve, but colours elsewhere; new uv are needed


def own_textures(
    mesh: Mesh, chosen: torch.Tensor, scale: int, resolution: int, new_uv: bool, progress: Progress = silent
) -> Mesh:
    """The same mesh, looking the same, in which the base colours of the ``chosen`` faces (M,) bool are textures alone,
    with texels for these faces only.

    Where a texture is there and shows its colours by itself, it stays. Elsewhere the faces get a material of their own
    (``split_material``), whose texture holds base colour factor and vertex colours too; without any texture, or with
    ``new_uv`` where texture coordinates do not serve, the faces are unwrapped and all textures baked anew, with
    ``resolution`` texels a side. Faces keep their order, vertices their places, and new ones come last. ``scale`` is
    how much finer the textures will be painted.

    Raises Bundle3DError, without ``new_uv``, where texture coordinates do not serve.
    """
    index, states = material_of_faces(mesh), {}
    for number in torch.unique(index[chosen]).tolist():
        states[number] = _state(mesh, chosen, index == number, number, scale, new_uv)
        progress(len(states), 2 * len(materials_of(mesh)))
    for number, state in states.items():
        if state == READY:
            continue
        mesh = split_material(mesh.with_(materials=materials_of(mesh)), chosen & (index == number))
        now = int(material_of_faces(mesh)[chosen & (index == number)][0])
        if state == BARE:
            mesh = _with_new_uv(mesh, chosen & (index == number), now, resolution)
        mesh = _with_own_texture(mesh, chosen & (index == number), now, resolution)
    return mesh


def _state(mesh: Mesh, chosen: torch.Tensor, own: torch.Tensor, number: int, scale: int, new_uv: bool) -> int:
    material = materials_of(mesh)[number]
    if mesh.uv is None or not material.textures:
        return BARE
    height, width = texture_size(material, 0)
    reason = why_not_unique(mesh, chosen, own, (height * scale, width * scale))
    if reason is not None:
        if not new_uv:
            raise refuse(mesh, material, reason)
        return BARE
    white = material.base_color_factor[:3] == (1.0, 1.0, 1.0)
    if mesh.colors is not None:
        white = white and bool((mesh.colors[mesh.faces[chosen & own].reshape(-1)] == 1.0).all())
    return READY if white and material.base_color_texture is not None else TINTED


def texture_size(material: Material, default: int) -> tuple[int, int]:
    """Height and width of the base colour texture, or of the largest other one, or ``default``."""
    if material.base_color_texture is not None:
        return material.base_color_texture.shape[0], material.base_color_texture.shape[1]
    sizes = [(texture.shape[0], texture.shape[1]) for texture in material.textures.values()]
    return max(sizes, default=(default, default), key=lambda size: size[0] * size[1])


def _with_new_uv(mesh: Mesh, own: torch.Tensor, number: int, resolution: int) -> Mesh:
    """``mesh`` with the faces ``own`` (M,) bool, which alone have the material ``number``, unwrapped."""
    material = materials_of(mesh)[number]
    part = keep_faces(mesh.with_(face_material=None), own).with_(materials=(material,))
    slots = [slot for slot in SLOTS if getattr(material, slot) is not None]
    if slots and mesh.uv is not None:
        normals = mesh.normals if mesh.normals is not None else mesh.vertex_normals()
        part = keep_faces(mesh.with_(normals=normals, face_material=torch.zeros_like(own, dtype=torch.int64)), own)
        flat = rebake(part.with_(materials=(material,)), slots, resolution)
        baked = replace(flat.materials[0], name=material.name)
    else:
        flat, baked = unwrap(part.with_(uv=None), resolution)[0], material
    if mesh.tangents is not None and flat.tangents is None:
        flat = flat.with_(tangents=vertex_tangents(flat))
    if mesh.uv is None:
        mesh = mesh.with_(uv=mesh.vertices.new_zeros(len(mesh.vertices), 2))
    materials = list(materials_of(mesh))
    materials[number] = baked
    return _replaced(mesh, own, flat).with_(materials=tuple(materials))


def _replaced(mesh: Mesh, own: torch.Tensor, part: Mesh) -> Mesh:
    """``mesh`` with the faces ``own`` (M,) bool taken from ``part``.

    The vertices of the part take the places of those that no other face uses, the rest come last.
    """
    kept = torch.zeros(len(mesh.vertices), dtype=torch.bool, device=own.device)
    kept[mesh.faces[~own].reshape(-1)] = True
    vacant = torch.unique(mesh.faces[own])
    vacant = vacant[~kept[vacant]]
    added = len(part.vertices) - len(vacant)
    place = torch.cat((vacant, torch.arange(added, device=vacant.device) + len(mesh.vertices)))
    faces = mesh.faces.clone()
    faces[own] = place[part.faces]
    values = {}
    for name in ("vertices", "uv", "normals", "tangents", "colors"):
        old, new = getattr(mesh, name), getattr(part, name)
        if old is not None:
            values[name] = pad(old, (0, 0, 0, added)).index_copy(0, place, new)
    return mesh.with_(faces=faces, **values)


def _with_own_texture(mesh: Mesh, own: torch.Tensor, number: int, resolution: int) -> Mesh:
    """``mesh`` with the base colour of the material ``number``, which the faces ``own`` (M,) bool have, as a texture
    alone; where there are vertex colours, ``own`` share no vertex with others."""
    material, device = materials_of(mesh)[number], mesh.vertices.device
    height, width = texture_size(material, resolution)
    image = slot_image(material, "base_color_texture").to(device)
    image = image.expand(height, width, -1).contiguous()
    colors = mesh.colors
    if colors is not None:
        faces = mesh.faces[own]
        texels = rasterise_uv(Mesh(mesh.vertices, faces, uv=mesh.uv), (height, width))
        tint = texels.interpolate(pad(colors, (0, 4 - colors.shape[1]), value=1.0), faces)
        values = image[texels.mask].float() / 255.0
        mixed = torch.cat((linear_to_srgb(srgb_to_linear(values[:, :3]) * tint[:, :3]), values[:, 3:] * tint[:, 3:]), 1)
        image[texels.mask] = (mixed.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        image = pad_texture(image, texels.mask)
        colors = colors.index_fill(0, torch.unique(faces), 1.0)
        colors = None if bool((colors == 1.0).all()) else colors
    if material.alpha_mode == "OPAQUE":
        image = image[..., :3].contiguous()
    materials = list(materials_of(mesh))
    materials[number] = replace(material, base_color_factor=(1.0, 1.0, 1.0, 1.0), base_color_texture=image.cpu())
    return mesh.with_(materials=tuple(materials), colors=colors)
