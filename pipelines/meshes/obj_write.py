"""Writes a Mesh as OBJ with its material library and textures."""

from __future__ import annotations

import io
import re

import numpy as np
import torch
from PIL import Image

from .glb_write import faces_by_material
from .images import encode_png
from .mesh import Material, Mesh
from .srgb import srgb_from_linear
from .world import units_comment, world_faces, world_normals, world_vertices


def obj_files(mesh: Mesh, stem: str) -> dict[str, bytes]:
    """File contents by name: ``stem.obj`` and, where there are materials, ``stem.mtl`` and its PNG textures.

    World coordinates; enough digits that float32 values come back to the bit (float64 under a transform). Vertex
    colours are written behind the positions as sRGB.
    """
    files: dict[str, bytes] = {}
    names = _unique_names(mesh.materials)
    if mesh.materials:
        library = []
        for index, material in enumerate(mesh.materials):
            library.append(_material(material, names[index], f"{stem}_{index}", mesh.uv is not None, files))
        files[f"{stem}.mtl"] = "\n".join(library).encode()
    files[f"{stem}.obj"] = _geometry(mesh, names, f"{stem}.mtl" if mesh.materials else "")
    return files


def _geometry(mesh: Mesh, names: list[str], library: str) -> bytes:
    lines = [f"# {units_comment(mesh)}", f"o {_word(mesh.name)}"]
    if library:
        lines.insert(1, f"mtllib {library}")
    vertices = world_vertices(mesh)
    if mesh.colors is not None:
        colors = srgb_from_linear(mesh.colors[:, :3].detach().cpu().double().clamp(0.0, 1.0).numpy())
        vertices = np.concatenate([vertices.astype(np.float64), colors], axis=1)
    blocks = ["\n".join(lines), _rows("v", vertices, 17 if vertices.dtype == np.float64 and mesh.colors is None else 9)]
    corner = "{0}"
    if mesh.uv is not None:
        uv = mesh.uv.detach().cpu().double().numpy() * [1.0, -1.0] + [0.0, 1.0]
        blocks.append(_rows("vt", uv, 17))
        corner = "{0}/{0}"
    if mesh.normals is not None:
        blocks.append(_rows("vn", world_normals(mesh), 9))
        corner = "{0}/{0}/{0}" if mesh.uv is not None else "{0}//{0}"
    for index, faces in faces_by_material(mesh):
        if names:
            blocks.append(f"usemtl {names[index]}")
        blocks.append(_faces(world_faces(mesh.with_(faces=faces, face_material=None)) + 1, corner))
    return ("\n".join(blocks) + "\n").encode()


def _rows(keyword: str, values: np.ndarray, digits: int) -> str:
    template = " ".join([keyword] + [f"%.{digits}g"] * values.shape[1])
    return "\n".join([template] * len(values)) % tuple(values.ravel().tolist())


def _faces(faces: np.ndarray, corner: str) -> str:
    words = [corner.format(index) for index in range(int(faces.max()) + 1)]
    return "\n".join(f"f {words[a]} {words[b]} {words[c]}" for a, b, c in faces.tolist())


def _word(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[:100] or "mesh"


def _unique_names(materials: tuple[Material, ...]) -> list[str]:
    names: list[str] = []
    for index, material in enumerate(materials):
        name = _word(material.name)
        names.append(name if name not in names else f"{name}_{index}")
    return names


def _material(material: Material, name: str, stem: str, textured: bool, files: dict[str, bytes]) -> str:
    """The newmtl block; adds the textures to ``files``."""
    red, green, blue, alpha = material.base_color_factor
    lines = [f"newmtl {name}", "Kd " + _srgb((red, green, blue)), "Ks 0.04 0.04 0.04"]
    lines += [f"d {alpha:.9g}", f"Pr {material.roughness_factor:.9g}", f"Pm {material.metallic_factor:.9g}"]
    if max(material.emissive_factor) > 0.0:
        lines.append("Ke " + _srgb(material.emissive_factor))
    if not textured:
        return "\n".join(lines) + "\n"
    clamp = "" if material.repeat else "-clamp on "

    def save(keyword: str, suffix: str, data: bytes) -> None:
        files[f"{stem}_{suffix}.png"] = data
        lines.append(f"{keyword} {clamp}{stem}_{suffix}.png")

    if material.base_color_texture is not None:
        save("map_Kd", "base_color", encode_png(material.base_color_texture))
        if material.base_color_texture.shape[2] == 4 and material.alpha_mode != "OPAQUE":
            lines.append(f"map_d {clamp}{stem}_base_color.png")
    if material.orm_texture is not None:
        if material.has_occlusion:
            save("map_AO", "occlusion", _grey(material.orm_texture[..., 0]))
        save("map_Pr", "roughness", _grey(material.orm_texture[..., 1]))
        save("map_Pm", "metallic", _grey(material.orm_texture[..., 2]))
    if material.normal_texture is not None:
        save("norm", "normal", encode_png(material.normal_texture))
    if material.emissive_texture is not None:
        save("map_Ke", "emissive", encode_png(material.emissive_texture))
    return "\n".join(lines) + "\n"


def _srgb(color: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.9g}" for value in srgb_from_linear(np.array(color)))


def _grey(band: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(band.contiguous().cpu().numpy()).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
