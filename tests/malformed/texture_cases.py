"""Texture images that are damaged, of foreign kinds, or larger than they look; and glTF data URIs."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from bundle3d.tests.malformed.whole_files import Case, valid_files
from bundle3d.tests.meshes.gltf_maker import SQUARE, png, textured_triangle, triangle
from PIL import Image


def _png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _image(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def textures() -> Iterator[Case]:
    whole = png(np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3))
    images = {
        "empty": b"",
        "text": b"not an image",
        "html": b"<html><script>1</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "cut png": whole[:40],
        "png with broken checksum": whole[:20] + b"\xff" + whole[21:],
        "cut jpeg": _image("JPEG")[:100],
        "gif": _image("GIF"),
        "tiff": _image("TIFF"),
        "ktx2": b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(100),
        "png of 20000 x 20000": _png_claiming(20_000, 20_000),
        "png of 16384 x 16384": _png_claiming(16_384, 16_385),
        "png of 2 billion x 1": _png_claiming(2**31 - 1, 1),
        "png of 0 x 0": _png_claiming(0, 0),
        "png with too few rows": _png_claiming(2000, 2000),
    }
    for name, data in images.items():
        maker, _ = textured_triangle()
        texture = maker.texture(data)
        maker.root["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]["index"] = texture
        yield Case(f"glb texture {name}", "texture.glb", maker.glb())
        files = {"m.mtl": b"newmtl a\nmap_Kd t.png\n", "t.png": data}
        body = b"mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a\nf 1 2 3\n"
        yield Case(f"obj texture {name}", "texture.obj", body, files)
    maker, _ = triangle()
    maker.root["materials"] = []
    for index in range(70):
        primitive = maker.primitive(SQUARE, (0, 1, 2), material=index)
        primitive["attributes"]["TEXCOORD_0"] = maker.accessor([(0.0, 0.0)] * 4)
        slot = {"index": maker.texture(png((index, 0, 0)))}
        maker.root["materials"].append({"pbrMetallicRoughness": {"baseColorTexture": slot}})
    yield Case("glb 70 textures", "many.glb", maker.glb())


def embedded() -> Iterator[Case]:
    whole = valid_files()["gltf"]
    for uri in (
        "mesh.bin",
        "../mesh.bin",
        "https://example.invalid/mesh.bin",
        "data:,hello",
        "data:application/octet-stream;base64",
        "data:application/octet-stream;base64,????",
        "data:application/octet-stream;base64,AAA",
        "data:application/octet-stream;base64,AAAA",
        "",
        5,
    ):
        root = json.loads(whole)
        root["buffers"][0]["uri"] = uri
        yield Case(f"gltf buffer {str(uri)[:50]!r}", "uri.gltf", json.dumps(root).encode(), {"mesh.bin": bytes(4096)})
    root = json.loads(whole)
    del root["buffers"][0]["uri"]
    yield Case("gltf buffer without uri", "uri.gltf", json.dumps(root).encode())
    for size in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        yield Case(f"gltf cut to {size} bytes", "cut.gltf", whole[:size])
