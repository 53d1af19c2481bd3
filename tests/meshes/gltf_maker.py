"""GLB files put together by hand, so that the reader is tested against the format and not against our writer."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from PIL import Image

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def png(color: tuple[int, ...] | np.ndarray, size: int = 2) -> bytes:
    """A PNG of one colour, or of an array (H, W, C)."""
    pixels = np.array(color, np.uint8)
    if pixels.ndim == 1:
        pixels = np.broadcast_to(pixels, (size, size, len(pixels)))
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def container(root: Any, binary: bytes = b"") -> bytes:
    """GLB bytes of a JSON value (or of ready text) and a BIN chunk."""
    text = root if isinstance(root, bytes) else json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


class Maker:
    """Collects accessors and images; ``root`` may be changed at will before `glb`."""

    def __init__(self) -> None:
        self.binary = b""
        self.root: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": []}],
            "accessors": [],
            "bufferViews": [],
        }

    def view(self, data: bytes, **fields: Any) -> int:
        """A buffer view over new data."""
        place = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        self.root["bufferViews"].append({**place, **fields})
        self.binary += data + bytes(-len(data) % 4)
        return len(self.root["bufferViews"]) - 1

    def accessor(self, values: Any, kind: str = "f4", **fields: Any) -> int:
        """An accessor over new rows (N,) or (N, C)."""
        rows = np.ascontiguousarray(np.array(values, "<" + kind))
        width = 1 if rows.ndim == 1 else rows.shape[1]
        self.root["accessors"].append(
            {
                "bufferView": self.view(rows.tobytes()),
                "componentType": COMPONENTS[kind],
                "count": len(rows),
                "type": KINDS[width],
                **fields,
            }
        )
        return len(self.root["accessors"]) - 1

    def primitive(self, positions: Any, indices: Any = None, mesh: int = 0, **fields: Any) -> dict[str, Any]:
        """A primitive with float positions; ``fields`` may hold more, such as material and mode."""
        primitive: dict[str, Any] = {"attributes": {"POSITION": self.accessor(positions)}, **fields}
        if indices is not None:
            primitive["indices"] = self.accessor(indices, "u2")
        while len(self.root["meshes"]) <= mesh:
            self.root["meshes"].append({"primitives": []})
        self.root["meshes"][mesh]["primitives"].append(primitive)
        return primitive

    def texture(self, data: bytes, **sampler: int) -> int:
        """A texture of an encoded image."""
        self.root.setdefault("images", []).append({"bufferView": self.view(data), "mimeType": "image/png"})
        texture: dict[str, int] = {"source": len(self.root["images"]) - 1}
        if sampler:
            self.root.setdefault("samplers", []).append(sampler)
            texture["sampler"] = len(self.root["samplers"]) - 1
        self.root.setdefault("textures", []).append(texture)
        return len(self.root["textures"]) - 1

    def glb(self) -> bytes:
        """The file."""
        self.root["buffers"] = [{"byteLength": len(self.binary)}]
        return container(self.root, self.binary)


TRIANGLE = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
SQUARE = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0))


def triangle(**fields: Any) -> tuple[Maker, dict[str, Any]]:
    """One triangle in the XY plane, facing +Z, and its primitive."""
    maker = Maker()
    return maker, maker.primitive(TRIANGLE, **fields)


def textured_triangle(material: dict[str, Any] | None = None) -> tuple[Maker, dict[str, Any]]:
    """A triangle with UVs and material 0; its texture 0 is a red 2 x 2 PNG."""
    maker, primitive = triangle(material=0)
    primitive["attributes"]["TEXCOORD_0"] = maker.accessor([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
    maker.texture(png((255, 0, 0)))
    maker.root["materials"] = [material or {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    return maker, primitive
