"""The container of glTF 2.0: GLB chunks or embedded JSON, buffers and accessors, checked before they are read."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

import numpy as np

from ..errors import Bundle3DError
from .json_fields import Fields, parse_json
from .limits import Limits

JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
COMPONENTS = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
ROWS_WITHOUT_DATA = 1_000_000  # an accessor without a buffer view costs memory but no file size
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
COMPRESSED = {
    "KHR_draco_mesh_compression": "Draco",
    "EXT_meshopt_compression": "meshopt",
    "KHR_meshopt_compression": "meshopt",
    "KHR_texture_basisu": "Basis Universal",
}
UNDERSTOOD = {
    "KHR_texture_transform",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_mesh_quantization",
    "EXT_texture_webp",
}


@dataclass(frozen=True)
class Accessor:
    """A checked accessor: rows of ``width`` components."""

    count: int
    width: int
    dtype: np.dtype
    normalized: bool
    fields: Fields


class Document:
    """A glTF file in memory.

    ``root`` is its JSON, ``binary`` the BIN chunk. Nothing outside the file is ever opened. Raises Bundle3DError for
    damaged containers, for external files and for required extensions that change geometry and are not understood.
    """

    def __init__(self, root: Fields, binary: bytes, limits: Limits) -> None:
        self.root, self.limits = root, limits
        version = root.table("asset").text("version", "2.0")
        if not version.startswith("2."):
            raise Bundle3DError(f"Expected glTF version 2, but got version {version[:8]}; export the file as glTF 2.0.")
        self._check_extensions()
        self.buffers = [self._buffer(fields, i, binary) for i, fields in enumerate(root.tables("buffers"))]
        self.views = root.tables("bufferViews")
        self.accessors = root.tables("accessors")

    def _check_extensions(self) -> None:
        required = self.root.values.get("extensionsRequired", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            self.root.refuse("extensionsRequired", "a list of names")
        for name in required:
            if name in COMPRESSED:
                raise Bundle3DError(
                    f"Expected an uncompressed glTF, but this one needs {COMPRESSED[name]} ({name}); "
                    "export it without compression."
                )
            if name not in UNDERSTOOD and not name.startswith("KHR_materials_"):
                raise Bundle3DError(
                    f"Expected plain glTF 2.0, but this file needs the extension {name[:60]}; export it without it."
                )

    def _buffer(self, fields: Fields, index: int, binary: bytes) -> memoryview:
        length = fields.integer("byteLength")
        if "uri" in fields:
            data = memoryview(self.embedded(fields.text("uri"), fields.where))
        elif index == 0:
            data = memoryview(binary)
        else:
            raise Bundle3DError(
                f"Expected {fields.where} to hold its data, but it has none; export the file as a plain GLB."
            )
        if length > len(data):
            raise Bundle3DError(
                f"Expected {length} bytes in {fields.where}, but the file holds {len(data)}; it is cut short, "
                "copy or download it again."
            )
        return data[:length]

    @staticmethod
    def embedded(uri: str, where: str) -> bytes:
        """The bytes of a base64 data URI; every other URI is refused."""
        head, comma, body = uri.partition(",")
        if not head.startswith("data:") or not head.endswith(";base64") or not comma:
            raise Bundle3DError(
                f"Expected {where} inside the file, but it points to {uri[:40]!r}; export one self-contained GLB."
            )
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Bundle3DError(
                f"Expected base64 data in {where}, but it does not decode; export the file again."
            ) from error

    def view(self, index: int) -> tuple[memoryview, int]:
        """The bytes of a buffer view and its stride (0: tightly packed)."""
        fields = self.views[index]
        buffer = self.buffers[fields.integer("buffer", below=len(self.buffers))]
        offset, length = fields.integer("byteOffset", 0), fields.integer("byteLength")
        if offset + length > len(buffer):
            raise Bundle3DError(
                f"Expected {fields.where} inside its buffer of {len(buffer)} bytes, but it ends at {offset + length}; "
                "the file is damaged, export it again."
            )
        return buffer[offset : offset + length], fields.integer("byteStride", 0, below=256)

    def accessor(self, index: int) -> Accessor:
        """The checked description of an accessor, without its data."""
        fields = self.accessors[index]
        component = fields.integer("componentType")
        if component not in COMPONENTS:
            fields.refuse("componentType", "one of " + ", ".join(map(str, COMPONENTS)))
        kind = fields.text("type")
        if kind not in WIDTHS:
            fields.refuse("type", "one of " + ", ".join(WIDTHS))
        count = fields.integer("count")
        self.limits.check("vertices", count // 3, "vertices or triangles in one accessor")
        dtype = np.dtype(COMPONENTS[component]).newbyteorder("<")
        return Accessor(count, WIDTHS[kind], dtype, fields.flag("normalized"), fields)

    def read(self, index: int) -> np.ndarray:
        """The rows of an accessor (count, width) in their stored type, sparse values applied."""
        accessor = self.accessor(index)
        fields = accessor.fields
        view = fields.index("bufferView", len(self.views))
        shape = (accessor.count, accessor.width)
        if view is None:
            if accessor.count > ROWS_WITHOUT_DATA:
                raise Bundle3DError(
                    f"Expected data for the {accessor.count:,} rows of {fields.where}, but it names no buffer view; "
                    "the file is damaged, export it again."
                )
            rows = np.zeros(shape, accessor.dtype)
        else:
            rows = self._rows(view, fields.integer("byteOffset", 0), shape, accessor.dtype, fields.where)
        if "sparse" not in fields:
            return rows
        return self._sparse(rows.copy(), fields.table("sparse"), accessor)

    def _rows(
        self, view: int, offset: int, shape: tuple[int, int], dtype: np.dtype, where: str, packed: bool = False
    ) -> np.ndarray:
        data, stride = self.view(view)
        row = shape[1] * dtype.itemsize
        stride = row if packed or stride == 0 else stride
        if stride < row:
            raise Bundle3DError(
                f"Expected a stride of at least {row} bytes for {where}, but got {stride}; "
                "the file is damaged, export it again."
            )
        need = offset + stride * (shape[0] - 1) + row if shape[0] else 0
        if need > len(data):
            raise Bundle3DError(
                f"Expected {where} inside its buffer view of {len(data)} bytes, but it needs {need}; "
                "the file is damaged, export it again."
            )
        if not shape[0]:
            return np.zeros(shape, dtype)
        return np.ndarray(shape, dtype, buffer=data, offset=offset, strides=(stride, dtype.itemsize))

    def _sparse(self, rows: np.ndarray, sparse: Fields, accessor: Accessor) -> np.ndarray:
        count = sparse.integer("count", below=accessor.count + 1)
        where, what = sparse.table("indices"), sparse.table("values")
        component = where.integer("componentType")
        if component not in (5121, 5123, 5125):
            where.refuse("componentType", "an unsigned type")
        kind = np.dtype(COMPONENTS[component]).newbyteorder("<")
        views = len(self.views)
        view, offset = where.integer("bufferView", below=views), where.integer("byteOffset", 0)
        places = self._rows(view, offset, (count, 1), kind, where.where, True)[:, 0]
        view, offset = what.integer("bufferView", below=views), what.integer("byteOffset", 0)
        values = self._rows(view, offset, (count, accessor.width), accessor.dtype, what.where, True)
        if count and int(places.max()) >= accessor.count:
            raise Bundle3DError(
                f"Expected sparse indices below {accessor.count} in {accessor.fields.where}, "
                f"but got {int(places.max())}; the file is damaged, export it again."
            )
        rows[places] = values
        return rows


def open_glb(data: bytes, limits: Limits) -> Document:
    """The document in GLB bytes; raises Bundle3DError where the container is damaged or too large."""
    if len(data) < 20:
        raise Bundle3DError(f"Expected a GLB file, but got only {len(data)} bytes; copy or download it again.")
    magic, version, total = struct.unpack_from("<4sII", data)
    if magic != b"glTF":
        raise Bundle3DError(f"Expected a GLB file, but it starts with {magic!r}; choose another or name its format.")
    if version != 2:
        raise Bundle3DError(f"Expected GLB version 2, but got {version}; export the file as glTF 2.0.")
    if total > len(data):
        raise Bundle3DError(
            f"Expected {total} bytes of GLB, but the file has {len(data)}; it is cut short, copy or download it again."
        )
    chunks: dict[int, bytes] = {}
    position = 12
    while position + 8 <= total:
        length, kind = struct.unpack_from("<II", data, position)
        position += 8
        if position + length > total:
            raise Bundle3DError(
                f"Expected a GLB chunk of {length} bytes, but only {total - position} are left; "
                "the file is damaged, export it again."
            )
        if kind == JSON_CHUNK:
            limits.check("json_bytes", length, "bytes of JSON in a GLB")
        chunks.setdefault(kind, data[position : position + length])
        position += length
    if JSON_CHUNK not in chunks:
        raise Bundle3DError("Expected a JSON chunk in the GLB, but it has none; export the file again.")
    return Document(parse_json(chunks[JSON_CHUNK]), chunks.get(BINARY_CHUNK, b""), limits)


def open_gltf(data: bytes, limits: Limits) -> Document:
    """The document in embedded glTF JSON; its base64 buffers count as file, not as JSON."""
    limits.check("text_bytes", len(data), "bytes of glTF text")
    return Document(parse_json(data), b"", limits)


def as_float(rows: np.ndarray, normalized: bool) -> np.ndarray:
    """Rows as float32; normalised integers become 0..1 or -1..1."""
    if rows.dtype.kind == "f" or not normalized:
        return rows.astype(np.float32)
    return np.maximum(rows.astype(np.float32) / np.float32(np.iinfo(rows.dtype).max), np.float32(-1.0))
