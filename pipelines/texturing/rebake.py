"""All materials of a mesh baked into one fresh unwrap."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..meshes.mesh import Mesh
from ..meshes.padding import pad_texture
from ..meshes.tangents import tangent_frame, vertex_tangents, with_tangents
from ..progress import Progress, Stage, silent
from ..rendering.texture import sample_texture
from .material_images import merged_material, slot_image
from .texel_map import TexelMap, rasterise_uv
from .unwrap import unwrap

UNWRAPPED, DONE = 50, 100  # steps of the progress


def rebake(mesh: Mesh, slots: Sequence[str], resolution: int, padding: int = 4, progress: Progress = silent) -> Mesh:
    """Unwrap a mesh anew and bake the given slots of its materials into ``resolution`` x ``resolution`` texels.

    Textures finer than the new texels are averaged first. Normal maps are turned from the old tangent frames into the
    new ones, which come with the result as ``normals`` and ``tangents``. ``face_material`` must be there. ``progress``
    may cancel it.
    """
    assert mesh.face_material is not None
    normals = mesh.normals if mesh.normals is not None else mesh.vertex_normals()
    old = mesh.with_(normals=normals)
    flat, _ = unwrap(old.with_(uv=None), resolution, padding, progress=Stage(progress, 0, UNWRAPPED, DONE))
    bumpy = "normal_texture" in slots
    if bumpy:
        flat = with_tangents(flat)
    texels = rasterise_uv(flat, resolution)
    face = texels.face[texels.mask].long()
    material = mesh.face_material[face]
    uv = None if mesh.uv is None else texels.interpolate(mesh.uv, mesh.faces)
    images = {}
    for done, slot in enumerate(slots):
        Stage(progress, UNWRAPPED, DONE, DONE)(done, len(slots))
        values = _look_up(mesh, slot, material, uv, resolution, flat, face)
        if slot == "normal_texture":
            values = _turned_normals(old, flat, texels, values)
        image = torch.zeros((resolution, resolution, values.shape[1]), dtype=torch.uint8, device=values.device)
        image[texels.mask] = (values * 255.0).round().clamp(0, 255).to(torch.uint8)
        images[slot] = pad_texture(image, texels.mask).cpu()
    progress(DONE, DONE)
    return flat.with_(materials=(merged_material(mesh.materials, images),), face_material=None)


def _look_up(
    mesh: Mesh,
    slot: str,
    material: torch.Tensor,
    uv: torch.Tensor | None,
    resolution: int,
    flat: Mesh,
    face: torch.Tensor,
) -> torch.Tensor:
    """(K, C) values in 0..1 of a slot at K texels."""
    result = None
    for number, candidate in enumerate(mesh.materials):
        image = slot_image(candidate, slot).to(mesh.vertices.device).float() / 255.0
        if result is None:
            result = image.new_zeros((material.shape[0], image.shape[-1]))
        rows = torch.nonzero(material == number)[:, 0]
        if rows.numel() == 0:
            continue
        if uv is None or image.shape[:2] == (1, 1):
            result[rows] = image[0, 0]
        else:
            image = _averaged(image, _step(mesh, flat, face[rows], resolution, image))
            result[rows] = sample_texture(image, uv[rows], candidate.repeat)
    assert result is not None
    return result


def _step(mesh: Mesh, flat: Mesh, face: torch.Tensor, resolution: int, image: torch.Tensor) -> float:
    """Old texels per new texel, the median over the given faces."""
    assert mesh.uv is not None and flat.uv is not None
    chosen = torch.unique(face)
    old = _area(mesh.uv[mesh.faces[chosen]]) * image.shape[0] * image.shape[1]
    new = _area(flat.uv[flat.faces[chosen]]) * resolution**2
    return float((old / new.clamp(min=1e-12)).median().sqrt())


def _area(corners: torch.Tensor) -> torch.Tensor:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs()


def _averaged(image: torch.Tensor, step: float) -> torch.Tensor:
    """The image (H, W, C) reduced by the whole factor nearest to ``step``."""
    factor = max(1, min(round(step), image.shape[0], image.shape[1]))
    if factor == 1:
        return image
    size = (max(image.shape[0] // factor, 1), max(image.shape[1] // factor, 1))
    return functional.interpolate(image.permute(2, 0, 1)[None], size=size, mode="area")[0].permute(1, 2, 0)


def _turned_normals(old: Mesh, flat: Mesh, texels: TexelMap, values: torch.Tensor) -> torch.Tensor:
    """Normal-map values (K, 3) of the old tangent frames as values of the new ones."""
    assert flat.tangents is not None and flat.normals is not None and old.normals is not None
    vector = values * 2.0 - 1.0
    if old.uv is not None:
        frames = old.tangents if old.tangents is not None else vertex_tangents(old)
        vector = _from_frame(vector, texels.interpolate(old.normals, old.faces), texels.interpolate(frames, old.faces))
    else:
        vector = texels.interpolate(old.normals, old.faces)
    tangent, bitangent, normal = tangent_frame(
        texels.interpolate(flat.normals, flat.faces), texels.interpolate(flat.tangents, flat.faces)
    )
    turned = torch.stack([(vector * axis).sum(1) for axis in (tangent, bitangent, normal)], dim=1)
    return functional.normalize(turned, dim=1) * 0.5 + 0.5


def _from_frame(vector: torch.Tensor, normal: torch.Tensor, tangent: torch.Tensor) -> torch.Tensor:
    axes = tangent_frame(normal, tangent)
    return sum((vector[:, i, None] * axis for i, axis in enumerate(axes)), torch.zeros_like(vector))
