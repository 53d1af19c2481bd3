"""Meshes between ComfyUI's sockets (MESH, FILE_3D, TRIMESH) and ours."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedIOBase, BytesIO
from typing import Any

import numpy as np
import torch
from comfy_api.latest import Types

from ..pipelines.errors import Bundle3DError
from ..pipelines.meshes.mesh import Material, Mesh
from ..pipelines.meshes.read import read_mesh
from ..pipelines.meshes.world import in_world
from ..pipelines.meshes.write import mesh_to_bytes
from ..pipelines.texturing.one_material import one_material

KNOWN_FIELDS = set(inspect.signature(Types.MESH.__init__).parameters)  # cores after 0.30 know more than the first ones
VERTEX_FIELDS = {"uvs": "uv", "vertex_colors": "colors", "normals": "normals", "tangents": "tangents"}
IMAGE_FIELDS = {
    "texture": "base_color_texture",
    "metallic_roughness": "orm_texture",
    "normal_map": "normal_texture",
    "emissive": "emissive_texture",
}
MATERIAL_FIELDS = ("material", "unlit", "occlusion_in_mr")
COUNTS = ("vertex_counts", "face_counts")
ALL_FIELDS = ("vertices", "faces", *VERTEX_FIELDS, *IMAGE_FIELDS, *MATERIAL_FIELDS, *COUNTS)
KEPT = "bundle3d_source"


@dataclass(frozen=True)
class _Source:
    """The meshes that a core MESH was made from, and all of its fields at that time, None where there was nothing.

    ``materials`` are those of its items. Core's MESH has one set of factors for the whole batch, textures without alpha
    and no alpha mode; they are given back where only something else was edited.
    """

    meshes: tuple[Mesh, ...]
    materials: tuple[Material | None, ...]
    fields: dict[str, Any]

    def holds(self, core: Any, names: Sequence[str] = ALL_FIELDS) -> bool:
        """Whether nobody has set these fields of the core MESH since."""
        return all(getattr(core, name, None) is self.fields[name] for name in names)


class _GlbStream(BufferedIOBase):
    """A mesh as a readable GLB file; its textures are encoded when somebody reads, as most outputs have no reader."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    @cached_property
    def _data(self) -> BytesIO:
        return BytesIO(mesh_to_bytes(self.mesh, "glb"))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._data.seek(offset, whence)

    def tell(self) -> int:
        return self._data.tell()

    def read(self, size: int | None = -1) -> bytes:
        return self._data.read(size)


def accept(value: Any) -> list[Mesh]:
    """The meshes in a MESH batch, a FILE_3D, a TRIMESH or a list of them.

    A MESH that `emit` made and nobody changed gives back the very meshes, with all that core's MESH cannot hold. Raises
    Bundle3DError for anything else.
    """
    if isinstance(value, (list, tuple)):
        return [mesh for item in value for mesh in accept(item)]
    if isinstance(value, Mesh):
        return [value]
    if hasattr(value, "get_source") and hasattr(value, "format"):
        return [_from_file(value)]
    if hasattr(value, "export") and hasattr(value, "bounds"):
        return [_from_trimesh(value)]
    vertices, faces = (_tensor(value, name) for name in ("vertices", "faces"))
    if vertices is None or faces is None:
        vertices, faces = _tensor(value, "v"), _tensor(value, "f")
        if vertices is None or faces is None:
            raise Bundle3DError(
                f"Expected a mesh or a 3D file, but got {type(value).__name__}; connect a MESH or FILE_3D output."
            )
    if vertices.ndim == 2 and faces.ndim == 2:
        return [Mesh(vertices.float().cpu(), faces.long().cpu())]
    if vertices.ndim != 3 or faces.ndim != 3 or len(vertices) != len(faces) or not len(vertices):
        raise Bundle3DError(
            f"Expected vertices (B, N, 3) and faces (B, M, 3), but got {tuple(vertices.shape)} and "
            f"{tuple(faces.shape)}; connect a MESH output of ComfyUI."
        )
    source = getattr(value, KEPT, None)
    if isinstance(source, _Source) and source.holds(value):
        return list(source.meshes)
    return [_from_core(value, index) for index in range(len(vertices))]


def emit(meshes: Sequence[Mesh]) -> tuple[Any, list[Any]]:
    """The values of the two mesh outputs: a core MESH batch in world coordinates, and one GLB file per mesh."""
    return to_core(meshes), [to_file(mesh) for mesh in meshes]


def to_file(mesh: Mesh) -> Any:
    """The mesh as a FILE_3D_GLB value in memory, encoded when it is first read."""
    return Types.File3D(_GlbStream(mesh), "glb")


def to_trimesh(mesh: Mesh) -> Any:
    """The mesh as a trimesh.Trimesh in world coordinates; trimesh packs several materials into one."""
    import trimesh

    return trimesh.load_scene(BytesIO(mesh_to_bytes(mesh, "glb")), file_type="glb").to_mesh()


def to_core(meshes: Sequence[Mesh]) -> Any:
    """A core MESH batch, zero-padded; one material each, base colour factors multiplied into textures or colours.

    Fields that this core's MESH does not know become plain attributes, as other packs do it.
    """
    if not meshes:
        raise Bundle3DError("Expected at least one mesh, but the batch is empty; check the node before.")
    flat = [one_material(in_world(mesh)) for mesh in meshes]
    vertices = _padded([mesh.vertices for mesh in flat], torch.float32)
    faces = _padded([mesh.faces for mesh in flat], torch.int64)
    fields: dict[str, Any] = {}
    for name, ours in VERTEX_FIELDS.items():
        values = [getattr(mesh, ours) for mesh in flat]
        if any(value is not None for value in values):
            fields[name] = _padded(_completed(values, flat, ours), torch.float32)
    materials = [mesh.materials[0] if mesh.materials else Material() for mesh in flat]
    for name, ours in IMAGE_FIELDS.items():
        images = [None if mesh.uv is None else getattr(m, ours) for mesh, m in zip(flat, materials)]
        if any(image is not None for image in images):
            fields[name] = image_batch(images)
    fields["unlit"] = all(material.unlit for material in materials)
    fields["occlusion_in_mr"] = any(material.has_occlusion for material in materials)
    if any(mesh.materials for mesh in flat):
        fields["material"] = _material_values(materials[0])
    if len({len(mesh.vertices) for mesh in flat}) > 1 or len({len(mesh.faces) for mesh in flat}) > 1:
        fields["vertex_counts"] = torch.tensor([len(mesh.vertices) for mesh in flat])
        fields["face_counts"] = torch.tensor([len(mesh.faces) for mesh in flat])
    core = Types.MESH(vertices, faces, **{name: value for name, value in fields.items() if name in KNOWN_FIELDS})
    for name, value in fields.items():
        if name not in KNOWN_FIELDS:
            setattr(core, name, value)
    kept = tuple(material if mesh.materials else None for mesh, material in zip(flat, materials))
    setattr(core, KEPT, _Source(tuple(meshes), kept, {name: getattr(core, name, None) for name in ALL_FIELDS}))
    return core


def _from_file(file: Any) -> Mesh:
    source = file.get_source()
    if isinstance(source, str):  # a path: an OBJ finds its materials beside it
        return read_mesh(source, file.format or None)
    return read_mesh(file.get_bytes(), file.format or None)


def _from_trimesh(value: Any) -> Mesh:
    try:
        data = value.export(file_type="glb")
    except Exception as error:  # whatever trimesh raises for an object that it cannot write
        raise Bundle3DError(
            f"Expected a trimesh object with triangles, but it cannot be exported ({str(error)[:60]}); repair it first."
        ) from error
    return read_mesh(data, "glb")


def _tensor(value: Any, name: str) -> torch.Tensor | None:
    """An attribute as a tensor; None where it is absent or no array."""
    found = getattr(value, name, None)
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.array(found))
    return found.detach() if isinstance(found, torch.Tensor) else None


def _from_core(core: Any, index: int) -> Mesh:
    """One item of a core MESH batch."""
    counts = [getattr(core, name, None) for name in COUNTS]
    vertices, faces = _tensor(core, "vertices"), _tensor(core, "faces")
    assert vertices is not None and faces is not None
    size = int(counts[0][index]) if counts[0] is not None else vertices.shape[1]
    length = int(counts[1][index]) if counts[1] is not None else faces.shape[1]
    attributes: dict[str, Any] = {}
    for name, ours in VERTEX_FIELDS.items():
        values = _tensor(core, name)
        if values is not None and values.ndim == 3:
            attributes[ours] = values[min(index, len(values) - 1), :size].float().cpu()
    return Mesh(
        vertices[index, :size].float().cpu(),
        faces[index, :length].long().cpu(),
        materials=_material(core, index, "uv" in attributes),
        **attributes,
    )


def _material(core: Any, index: int, textured: bool) -> tuple[Material, ...]:
    """The material of an item, or none where core says nothing about it."""
    source = getattr(core, KEPT, None)
    known = (
        source.materials[index] if isinstance(source, _Source) and len(core.vertices) == len(source.meshes) else None
    )
    images: dict[str, Any] = {}
    for name, ours in IMAGE_FIELDS.items():
        image = _tensor(core, name)
        if image is None or image.ndim != 4 or not textured:
            continue
        if known is not None and source is not None and source.holds(core, [name]):
            images[ours] = getattr(known, ours)
        else:
            images[ours] = _bytes(image[min(index, len(image) - 1), ..., : 4 if name == "texture" else 3])
    images = {ours: image for ours, image in images.items() if image is not None}
    if known is not None and source is not None and source.holds(core, MATERIAL_FIELDS):
        absent = dict.fromkeys(known.textures)
        has_occlusion = known.has_occlusion and "orm_texture" in images
        return (replace(known, **{**absent, **images}, has_occlusion=has_occlusion),)
    values = getattr(core, "material", None)
    if isinstance(values, (list, tuple)) and values:
        values = values[min(index, len(values) - 1)]
    values = values if isinstance(values, dict) else {}
    unlit = bool(getattr(core, "unlit", False))
    if not images and not values and not unlit:
        return ()
    glow = values.get("emissive_strength", 1.0)
    emissive = _numbers(values, "emissive_factor", (1.0, 1.0, 1.0) if "emissive_texture" in images else (0.0, 0.0, 0.0))
    default_metallic = 1.0 if "orm_texture" in images else 0.0
    red, green, blue, alpha = (*_numbers(values, "base_color_factor", (1.0, 1.0, 1.0, 1.0)), 1.0)[:4]
    material = Material(
        base_color_factor=(red, green, blue, alpha),
        metallic_factor=float(values.get("metallic_factor", default_metallic)),
        roughness_factor=float(values.get("roughness_factor", 1.0)),
        emissive_factor=(emissive[0] * glow, emissive[1] * glow, emissive[2] * glow),
        normal_scale=float(values.get("normal_scale", 1.0)),
        occlusion_strength=float(values.get("occlusion_strength", 1.0)),
        has_occlusion=bool(getattr(core, "occlusion_in_mr", False)) and "orm_texture" in images,
        double_sided=bool(values.get("double_sided", True)),
        unlit=unlit,
        repeat=False,  # core writes its textures clamped to the edge
        **images,
    )
    return (material,)


def _numbers(values: dict[str, Any], name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    found = values.get(name)
    if isinstance(found, torch.Tensor):
        found = found.flatten().tolist()
    return default if found is None else tuple(float(value) for value in found)


def _material_values(material: Material) -> dict[str, Any]:
    """The factors of a material under the names of core's MESH."""
    strength = max(1.0, *material.emissive_factor)
    return {
        "base_color_factor": material.base_color_factor,
        "metallic_factor": material.metallic_factor,
        "roughness_factor": material.roughness_factor,
        "emissive_factor": tuple(value / strength for value in material.emissive_factor),
        "emissive_strength": strength,
        "normal_scale": material.normal_scale,
        "occlusion_strength": material.occlusion_strength,
        "double_sided": material.double_sided,
    }


def _bytes(image: torch.Tensor) -> torch.Tensor:
    """A float image (H, W, C) in 0..1 as the uint8 texture that it came from."""
    return image.float().nan_to_num().clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8).cpu().contiguous()


def _padded(rows: list[torch.Tensor], kind: torch.dtype) -> torch.Tensor:
    """(B, longest, C) with zeros behind shorter items."""
    width = rows[0].shape[1]
    result = torch.zeros(len(rows), max(len(row) for row in rows), width, dtype=kind)
    for index, row in enumerate(rows):
        result[index, : len(row)] = row.detach().cpu()
    return result


def _completed(values: list[torch.Tensor | None], meshes: Sequence[Mesh], name: str) -> list[torch.Tensor]:
    """An attribute of a batch in which some meshes lack it: white, computed normals, or zeros."""
    width = max(value.shape[1] for value in values if value is not None)
    result = []
    for mesh, value in zip(meshes, values):
        count = len(mesh.vertices)
        if value is None:
            blank = torch.ones(count, width) if name == "colors" else torch.zeros(count, width)
            value = mesh.vertex_normals() if name == "normals" else blank
        result.append(torch.nn.functional.pad(value.cpu(), (0, width - value.shape[1]), value=1.0))
    return result


def image_batch(images: list[torch.Tensor | None]) -> torch.Tensor:
    """(B, H, W, 3) float in 0..1 of uint8 textures, scaled to the largest; white where there is none."""
    present = [image for image in images if image is not None]
    height, width = (max(image.shape[axis] for image in present) for axis in (0, 1))
    result = torch.ones(len(images), height, width, 3)
    for index, image in enumerate(images):
        if image is not None:
            pixels = image[..., :3].cpu().float().div(255.0).permute(2, 0, 1)[None]
            if image.shape[:2] != (height, width):
                pixels = torch.nn.functional.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)
            result[index] = pixels[0].permute(1, 2, 0)
    return result
