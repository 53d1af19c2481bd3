"""The scene of a glTF document as one Mesh."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import Bundle3DError
from .assemble import Part, assemble, transformed
from .gltf_document import Accessor, Document, as_float
from .gltf_materials import MaterialReader, Placing
from .gltf_skin import posed
from .json_fields import Fields
from .mesh import Material, Mesh
from .units import FRAME_KEY, UNITS_KEY, units_per_meter

TRIANGLES, STRIP, FAN = 4, 5, 6


@dataclass(frozen=True)
class Instance:
    """A node with a mesh, and its world transform (4, 4) float64."""

    node: Fields
    world: np.ndarray


def read_document(document: Document) -> Mesh:
    """All triangles of the default scene with node transforms applied and skins posed as the file stands.

    A file of ours that kept a local frame (`gltf_write`) gets vertices and transform back as they were. Raises
    Bundle3DError for cyclic or too deep hierarchies, for broken references and for files without triangles.
    """
    worlds, instances = _walk(document)
    meshes = document.root.tables("meshes")
    uses = Counter(instance.node.integer("mesh", below=len(meshes)) for instance in instances)
    builder = _Builder(document)
    blocks = {index: _blocks(document, builder.reader, meshes[index]) for index in uses}
    _check_size(document, uses, blocks)
    only = instances[0].node if len(instances) == 1 else None
    extras = only.table("extras") if only is not None and isinstance(only.values.get("extras"), dict) else None
    keeps_frame = extras is not None and extras.values.get(FRAME_KEY) is True
    local = {index: [builder.part(block) for block in group] for index, group in blocks.items()}
    parts: list[Part] = []
    for instance in instances:
        index = instance.node.integer("mesh")
        for block, part in zip(blocks[index], local[index]):
            if "skin" in instance.node:
                part = posed(part, document, instance.node, block.attributes, worlds)
            elif not keeps_frame:
                part = transformed(part, instance.world)
            parts.append(part)
    mesh = assemble(parts, tuple(builder.materials), _name(document, instances, meshes))
    return _in_own_units(mesh, instances[0].world if keeps_frame else None, extras)


def _check_size(document: Document, uses: Counter[int], blocks: dict[int, list[_Block]]) -> None:
    """Refuses scenes that are too large with all their instances, before any vertex is read."""
    vertices = faces = 0
    for index, count in uses.items():
        vertices += count * sum(document.accessor(block.position).count for block in blocks[index])
        faces += count * sum(_face_count(document, p) for block in blocks[index] for p in block.primitives)
    document.limits.check("vertices", vertices, "vertices")
    document.limits.check("faces", faces, "triangles")


def _in_own_units(mesh: Mesh, frame: np.ndarray | None, extras: Fields | None) -> Mesh:
    """Undoes the conversion to meters that `gltf_write` notes in the node's extras."""
    units = extras.values.get(UNITS_KEY, "meter") if extras is not None else "meter"
    if frame is None and units == "meter":
        return mesh
    if not isinstance(units, str) or len(units) > 64:
        raise Bundle3DError(f"Expected {UNITS_KEY} to be a short name, but got {str(units)[:40]!r}; export it again.")
    world = np.eye(4) if frame is None else frame
    scale = np.diag([units_per_meter(units)] * 3 + [1.0])
    return mesh.with_(transform=torch.from_numpy(scale @ world) @ mesh.transform, units=units)


def _name(document: Document, instances: list[Instance], meshes: list[Fields]) -> str:
    if len(instances) == 1:
        node = instances[0].node
        return node.text("name") or meshes[node.integer("mesh")].text("name") or "mesh"
    for node in document.root.tables("nodes"):
        if node.text("name"):
            return node.text("name")
    return "mesh"


def _walk(document: Document) -> tuple[dict[int, np.ndarray], list[Instance]]:
    """World matrices of all nodes of the default scene, and its nodes with meshes in depth-first order."""
    nodes = document.root.tables("nodes")
    document.limits.check("nodes", len(nodes), "nodes")
    worlds: dict[int, np.ndarray] = {}
    instances: list[Instance] = []
    stack = [(root, np.eye(4), 1) for root in reversed(_roots(document, nodes))]
    while stack:
        index, parent, depth = stack.pop()
        if index in worlds:
            raise Bundle3DError(
                f"Expected a tree of nodes, but node {index} is reached twice; the file is damaged, export it again."
            )
        document.limits.check("depth", depth, "levels of nodes")
        node = nodes[index]
        world = parent @ _local(node)
        if not np.isfinite(world).all():
            raise Bundle3DError(f"Expected finite transforms, but that of node {index} overflows; export it again.")
        worlds[index] = world
        if "mesh" in node:
            instances.append(Instance(node, world))
        children = node.indices("children", len(nodes))
        stack.extend((child, world, depth + 1) for child in reversed(children))
    if not instances:
        raise Bundle3DError("Expected a mesh in the scene, but it has none; choose a file with a surface.")
    return worlds, instances


def _roots(document: Document, nodes: list[Fields]) -> list[int]:
    scenes = document.root.tables("scenes")
    if scenes:
        return scenes[document.root.integer("scene", 0, below=len(scenes))].indices("nodes", len(nodes))
    children = {child for node in nodes for child in node.indices("children", len(nodes))}
    return [index for index in range(len(nodes)) if index not in children]


def _local(node: Fields) -> np.ndarray:
    """The matrix (4, 4) of a node from its matrix or its translation, rotation and scale."""
    if "matrix" in node:
        return np.array(node.vector("matrix", tuple(np.eye(4).ravel()))).reshape(4, 4).T
    x, y, z, w = node.vector("rotation", (0.0, 0.0, 0.0, 1.0))
    length = (x * x + y * y + z * z + w * w) ** 0.5
    if length == 0.0:
        node.refuse("rotation", "a quaternion of length one")
    x, y, z, w = x / length, y / length, z / length, w / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(node.vector("scale", (1.0, 1.0, 1.0)))
    matrix[:3, 3] = node.vector("translation", (0.0, 0.0, 0.0))
    return matrix


@dataclass(frozen=True)
class _Block:
    """Primitives that share their vertices: exporters split one vertex buffer by material.

    All their textures lie at ``placing``; it is None where none of them has a texture.
    """

    attributes: Fields
    placing: Placing | None
    primitives: list[Fields]

    @property
    def position(self) -> int:
        return self.attributes.integer("POSITION")


def _blocks(document: Document, reader: MaterialReader, mesh: Fields) -> list[_Block]:
    """The triangle primitives of a mesh, grouped by equal attributes and equal UVs; those without textures join any."""
    primitives: list[tuple[str, Fields, Placing | None]] = []
    placings: dict[str, Placing] = {}
    for primitive in mesh.tables("primitives"):
        attributes = primitive.table("attributes")
        if primitive.integer("mode", TRIANGLES, below=7) < TRIANGLES or "POSITION" not in attributes:
            continue
        position = document.accessor(attributes.integer("POSITION", below=len(document.accessors)))
        if primitive.extension("KHR_draco_mesh_compression") is not None and "bufferView" not in position.fields:
            raise Bundle3DError(
                f"Expected an uncompressed glTF, but {mesh.where} is packed with Draco; export it without compression."
            )
        vertices = repr(sorted(attributes.values.items()))
        material = primitive.index("material", len(reader.materials))
        placing = None if material is None else reader.material(material).placing
        if placing is not None:
            placings.setdefault(vertices, placing)
        primitives.append((vertices, primitive, placing))
    groups: dict[tuple[str, Any], _Block] = {}
    for vertices, primitive, placing in primitives:
        placing = placing or placings.get(vertices)
        key = (vertices, placing and placing.layout)
        groups.setdefault(key, _Block(primitive.table("attributes"), placing, [])).primitives.append(primitive)
    return list(groups.values())


def _face_count(document: Document, primitive: Fields) -> int:
    index = primitive.index("indices", len(document.accessors))
    position = primitive.table("attributes").integer("POSITION")
    corners = document.accessor(position if index is None else index).count
    return corners // 3 if primitive.integer("mode", TRIANGLES) == TRIANGLES else max(corners - 2, 0)


class _Builder:
    """Turns blocks into parts and collects the materials that they use."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.reader = MaterialReader(document)
        self.materials: list[Material] = []
        self.slots: dict[int | None, int] = {}
        uses = [
            primitive.index("material", len(self.reader.materials))
            for mesh in document.root.tables("meshes")
            for primitive in mesh.tables("primitives")
        ]
        self.any_material = any(use is not None for use in uses)

    def part(self, block: _Block) -> Part:
        """The geometry of a block in its own frame, with one material slot per face."""
        attributes = block.attributes
        positions = self._attribute(attributes, "POSITION", (3,)).astype(np.float64)
        count = positions.shape[0]
        faces, materials = [], []
        for primitive in block.primitives:
            triangles = self._triangles(primitive, count)
            slot = self._material(primitive)
            faces.append(triangles)
            materials.append(np.full(len(triangles), slot, np.int64))
        return Part(
            positions,
            np.concatenate(faces),
            np.concatenate(materials),
            normals=self._optional(attributes, "NORMAL", (3,), count),
            tangents=self._optional(attributes, "TANGENT", (4,), count),
            uv=self._uv(attributes, block.placing or Placing(), count),
            colors=self._colors(attributes, count),
        )

    def _material(self, primitive: Fields) -> int:
        index = primitive.index("material", len(self.reader.materials))
        if index not in self.slots:
            self.slots[index] = len(self.materials)
            if self.any_material:
                plain = Material("default")
                self.materials.append(plain if index is None else self.reader.material(index).material)
        return self.slots[index]

    def _uv(self, attributes: Fields, placing: Placing, count: int) -> np.ndarray | None:
        uv = self._optional(attributes, f"TEXCOORD_{placing.uv_set}", (2,), count)
        return None if uv is None else placing.apply(uv)

    def _colors(self, attributes: Fields, count: int) -> np.ndarray | None:
        colors = self._optional(attributes, "COLOR_0", (3, 4), count, always_normalized=True)
        return None if colors is None else np.clip(colors, 0.0, 1.0)

    def _accessor(self, attributes: Fields, name: str, widths: tuple[int, ...]) -> tuple[int, Accessor]:
        index = attributes.integer(name, below=len(self.document.accessors))
        accessor = self.document.accessor(index)
        if accessor.width not in widths:
            accessor.fields.refuse("type", " or ".join(f"VEC{width}" for width in widths) + f" for {name}")
        return index, accessor

    def _attribute(
        self, attributes: Fields, name: str, widths: tuple[int, ...], always_normalized: bool = False
    ) -> np.ndarray:
        index, accessor = self._accessor(attributes, name, widths)
        return as_float(self.document.read(index), accessor.normalized or always_normalized)

    def _optional(
        self, attributes: Fields, name: str, widths: tuple[int, ...], count: int, always_normalized: bool = False
    ) -> np.ndarray | None:
        if name not in attributes:
            return None
        _, accessor = self._accessor(attributes, name, widths)
        if accessor.count != count:
            raise Bundle3DError(
                f"Expected {count} rows of {name}, one per position, but got {accessor.count}; "
                "the file is damaged, export it again."
            )
        return self._attribute(attributes, name, widths, always_normalized)

    def _triangles(self, primitive: Fields, count: int) -> np.ndarray:
        """Faces (M, 3) int64 of a primitive over ``count`` vertices."""
        index = primitive.index("indices", len(self.document.accessors))
        if index is None:
            corners = np.arange(count, dtype=np.int64)
        else:
            accessor = self.document.accessor(index)
            if accessor.width != 1 or accessor.dtype.kind != "u":
                accessor.fields.refuse("componentType", "unsigned scalars for indices")
            corners = self.document.read(index)[:, 0].astype(np.int64)
        if corners.size and int(corners.max()) >= count:
            raise Bundle3DError(
                f"Expected vertex indices below {count} in {primitive.where}, but got {int(corners.max())}; "
                "the file is damaged, export it again."
            )
        mode = primitive.integer("mode", TRIANGLES)
        if mode == TRIANGLES:
            if corners.size % 3:
                raise Bundle3DError(
                    f"Expected a multiple of three corners in {primitive.where}, but got {corners.size}; "
                    "the file is damaged, export it again."
                )
            return corners.reshape(-1, 3)
        if corners.size < 3:
            return np.zeros((0, 3), np.int64)
        if mode == FAN:
            return np.stack([np.full(corners.size - 2, corners[0]), corners[1:-1], corners[2:]], axis=1)
        faces = np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
        faces[1::2, 1:] = faces[1::2, :0:-1]
        return faces
