"""Writes a Mesh as GLB 2.0 with metallic-roughness materials."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..errors import Bundle3DError
from .gltf_document import BINARY_CHUNK, JSON_CHUNK
from .images import encode_png
from .mesh import Material, Mesh
from .tangents import vertex_tangents
from .units import FRAME_KEY, UNITS_KEY, units_per_meter

FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
REPEAT, CLAMP_TO_EDGE, LINEAR, LINEAR_MIPMAP_LINEAR = 10497, 33071, 9729, 9987
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


def glb_bytes(mesh: Mesh, extras: Mapping[str, Any] | None = None) -> bytes:
    """The mesh as GLB: one node, one vertex buffer, one primitive per material.

    ``extras`` is JSON for ``asset.extras``. ``transform`` becomes the node's matrix in meters. Tangents are written
    where a material has a normal map, and computed where the mesh has none. Raises Bundle3DError for an empty mesh or a
    material index out of range.
    """
    if mesh.faces.shape[0] == 0:
        raise Bundle3DError("Expected a mesh with triangles to write, but it has none; check the step before.")
    writer = _Writer()
    materials = [writer.material(material, mesh.uv is not None) for material in mesh.materials]
    attributes = writer.attributes(mesh)
    primitives = []
    for index, faces in faces_by_material(mesh):
        primitive: dict[str, Any] = {"attributes": attributes, "indices": writer.indices(faces, mesh.vertices.shape[0])}
        if materials:
            primitive["material"] = index
        primitives.append(primitive)
    asset: dict[str, Any] = {"version": "2.0", "generator": "Bundle3D"}
    if extras:
        asset["extras"] = dict(extras)
    root: dict[str, Any] = {
        "asset": asset,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [_node(mesh)],
        "meshes": [{"name": mesh.name, "primitives": primitives}],
        "accessors": writer.accessors,
        "bufferViews": writer.views,
        "buffers": [{"byteLength": len(writer.binary)}],
    }
    if materials:
        root["materials"] = materials
    if writer.textures:
        root.update(images=writer.images, textures=writer.textures, samplers=writer.samplers)
    if writer.extensions:
        root["extensionsUsed"] = sorted(writer.extensions)
    return _container(root, bytes(writer.binary))


def faces_by_material(mesh: Mesh) -> list[tuple[int, torch.Tensor]]:
    """(index, faces (K, 3)) of every material that has faces, in order; one group where the mesh has no indices."""
    if mesh.face_material is None:
        return [(0, mesh.faces)]
    used = [int(index) for index in torch.unique(mesh.face_material)]
    if used[0] < 0 or used[-1] >= max(len(mesh.materials), 1):
        raise Bundle3DError(
            f"Expected material indices below {len(mesh.materials)}, but got {used[0]}..{used[-1]}; check the mesh."
        )
    return [(index, mesh.faces[mesh.face_material == index]) for index in used]


def _node(mesh: Mesh) -> dict[str, Any]:
    node: dict[str, Any] = {"mesh": 0, "name": mesh.name}
    transform = mesh.transform.double().cpu().numpy()
    if mesh.units == "meter" and np.array_equal(transform, np.eye(4)):
        return node
    if not np.isfinite(transform).all() or not np.array_equal(transform[3], [0.0, 0.0, 0.0, 1.0]):
        raise Bundle3DError("Expected a finite affine transform, but the mesh has another; reset its transform.")
    meters = np.diag([1.0 / units_per_meter(mesh.units)] * 3 + [1.0]) @ transform
    node["matrix"] = [float(value) for value in meters.T.ravel()]
    node["extras"] = {FRAME_KEY: True, UNITS_KEY: mesh.units}
    return node


def _container(root: dict[str, Any], binary: bytes) -> bytes:
    try:
        text = json.dumps(root, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise Bundle3DError(f"Expected extras of plain JSON values, but {str(error)[:60]}; simplify them.") from error
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    if total >= 1 << 32:
        raise Bundle3DError(f"Expected a GLB below 4 GB, but it would have {total:,} bytes; simplify mesh or textures.")
    return b"".join(
        (
            struct.pack("<4sII", b"glTF", 2, total),
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BINARY_CHUNK),
            binary,
        )
    )


class _Writer:
    """Collects the arrays, images and materials of one file."""

    def __init__(self) -> None:
        self.binary = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.textures: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []
        self.extensions: set[str] = set()
        self.written: dict[tuple[int, bool], int] = {}

    def attributes(self, mesh: Mesh) -> dict[str, int]:
        """Accessors of all vertex attributes."""
        result = {"POSITION": self._array(mesh.vertices, bounds=True)}
        mapped = mesh.uv is not None and any(material.normal_texture is not None for material in mesh.materials)
        if mesh.normals is not None or mapped:
            normals = mesh.vertex_normals() if mesh.normals is None else unit_or(mesh.normals, mesh.vertex_normals)
            result["NORMAL"] = self._array(normals)
            if mapped:
                tangents = mesh.tangents if mesh.tangents is not None else vertex_tangents(mesh.with_(normals=normals))
                result["TANGENT"] = self._array(_valid_tangents(tangents, normals))
        if mesh.uv is not None:
            result["TEXCOORD_0"] = self._array(mesh.uv)
        if mesh.colors is not None:
            result["COLOR_0"] = self._array(mesh.colors.clamp(0.0, 1.0))
        return result

    def indices(self, faces: torch.Tensor, count: int) -> int:
        """The accessor of a group of faces; 65535 restarts primitives and is never an index."""
        kind = (np.uint16, UNSIGNED_SHORT) if count <= 65535 else (np.uint32, UNSIGNED_INT)
        corners = faces.detach().cpu().numpy().astype(kind[0]).reshape(-1)
        view = self._view(corners.tobytes(), ELEMENT_ARRAY_BUFFER)
        return self._accessor(view, kind[1], corners.size, "SCALAR")

    def _array(self, values: torch.Tensor, bounds: bool = False) -> int:
        rows = np.ascontiguousarray(values.detach().cpu().numpy(), dtype="<f4")
        if not np.isfinite(rows).all():
            raise Bundle3DError("Expected finite attributes, but some are NaN or infinite; repair the mesh first.")
        accessor = self._accessor(self._view(rows.tobytes(), ARRAY_BUFFER), FLOAT, len(rows), KINDS[rows.shape[1]])
        if bounds:
            self.accessors[accessor]["min"] = [float(value) for value in rows.min(0)]
            self.accessors[accessor]["max"] = [float(value) for value in rows.max(0)]
        return accessor

    def _accessor(self, view: int, component: int, count: int, kind: str) -> int:
        self.accessors.append({"bufferView": view, "componentType": component, "count": count, "type": kind})
        return len(self.accessors) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.views.append(view)
        self.binary += data + bytes(-len(data) % 4)
        return len(self.views) - 1

    def _texture(self, texture: torch.Tensor, repeat: bool) -> int:
        key = (id(texture), repeat)
        if key not in self.written:
            self.images.append({"bufferView": self._view(encode_png(texture)), "mimeType": "image/png"})
            wrap = REPEAT if repeat else CLAMP_TO_EDGE
            sampler = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": wrap, "wrapT": wrap}
            if sampler not in self.samplers:
                self.samplers.append(sampler)
            self.textures.append({"sampler": self.samplers.index(sampler), "source": len(self.images) - 1})
            self.written[key] = len(self.textures) - 1
        return self.written[key]

    def material(self, material: Material, textured: bool) -> dict[str, Any]:
        """The glTF material; its textures only where the mesh has UVs."""

        def slot(texture: torch.Tensor | None) -> dict[str, Any] | None:
            return None if texture is None or not textured else {"index": self._texture(texture, material.repeat)}

        pbr: dict[str, Any] = {
            "baseColorFactor": [float(value) for value in material.base_color_factor],
            "metallicFactor": float(material.metallic_factor),
            "roughnessFactor": float(material.roughness_factor),
        }
        result: dict[str, Any] = {"name": material.name, "pbrMetallicRoughness": pbr}
        if material.double_sided:
            result["doubleSided"] = True
        base, orm = slot(material.base_color_texture), slot(material.orm_texture)
        if base is not None:
            pbr["baseColorTexture"] = base
        if orm is not None:
            pbr["metallicRoughnessTexture"] = orm
            if material.has_occlusion:
                result["occlusionTexture"] = {**orm, "strength": float(material.occlusion_strength)}
        normal, emissive = slot(material.normal_texture), slot(material.emissive_texture)
        if normal is not None:
            result["normalTexture"] = {**normal, "scale": float(material.normal_scale)}
        if emissive is not None:
            result["emissiveTexture"] = emissive
        strongest = max(material.emissive_factor)
        if strongest > 0.0:
            divisor = max(float(strongest), 1.0)
            result["emissiveFactor"] = [float(value) / divisor for value in material.emissive_factor]
            if divisor > 1.0:
                self._extend(result, "KHR_materials_emissive_strength", {"emissiveStrength": divisor})
        if material.alpha_mode != "OPAQUE":
            result["alphaMode"] = material.alpha_mode
        if material.alpha_mode == "MASK":
            result["alphaCutoff"] = float(material.alpha_cutoff)
        if material.unlit:
            self._extend(result, "KHR_materials_unlit", {})
        return result

    def _extend(self, material: dict[str, Any], name: str, values: dict[str, Any]) -> None:
        material.setdefault("extensions", {})[name] = values
        self.extensions.add(name)


def unit_or(normals: torch.Tensor, fallback: Any) -> torch.Tensor:
    """Normals of length one; rows that are no direction come from ``fallback()``. Unit rows are kept to the bit."""
    length = normals.norm(dim=1, keepdim=True)
    if bool(((length - 1.0).abs() < 1e-5).all()):
        return normals
    scaled = normals / length.clamp(min=1e-20)
    return torch.where(length > 1e-6, scaled, fallback().to(normals)) if bool((length <= 1e-6).any()) else scaled


def _valid_tangents(tangents: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
    """Unit tangents with handedness 1 or -1; a row without direction gets one across its normal."""
    direction, length = tangents[:, :3], tangents[:, :3].norm(dim=1, keepdim=True)
    axis = torch.eye(3).to(normals)[normals.abs().argmin(1)]
    across = torch.nn.functional.normalize(torch.linalg.cross(normals, axis), dim=1)
    whole = (length - 1.0).abs() < 1e-5
    direction = torch.where(whole, direction, torch.where(length > 1e-6, direction / length.clamp(min=1e-20), across))
    handedness = torch.where(tangents[:, 3:] < 0, -1.0, 1.0)
    return torch.cat([direction, handedness], dim=1)
