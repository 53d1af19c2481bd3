"""Damaged, lying and hostile mesh files, made by code; every one of them must be refused."""

from __future__ import annotations

import base64
import copy
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from bundle3d.tests.meshes.gltf_maker import SQUARE, TRIANGLE, Maker, container, png, textured_triangle, triangle
from PIL import Image

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Case:
    """A file that must be refused, and the files beside it."""

    name: str
    file: str
    data: bytes = field(repr=False)
    beside: dict[str, bytes] = field(default_factory=dict, repr=False)


@lru_cache(maxsize=1)
def cases() -> list[Case]:
    """All cases, always the same, with unique names."""
    made = [
        *_glb_containers(),
        *_glb_fields(),
        *_glb_contents(),
        *_embedded(),
        *_textures(),
        *_obj(),
        *_ply(),
        *_stl(),
        *_foreign(),
    ]
    assert len({case.name for case in made}) == len(made)
    return made


def _full_maker() -> Maker:
    """A valid GLB with a texture, a skin, a hierarchy, a sampler and a sparse accessor."""
    maker, primitive = textured_triangle()
    primitive["indices"] = maker.accessor([0, 1, 2], "u2")
    primitive["attributes"]["NORMAL"] = maker.accessor([(0.0, 0.0, 1.0)] * 3)
    primitive["attributes"]["COLOR_0"] = maker.accessor([(1.0, 1.0, 1.0)] * 3)
    primitive["attributes"]["JOINTS_0"] = maker.accessor([(0, 0, 0, 0)] * 3, "u1")
    primitive["attributes"]["WEIGHTS_0"] = maker.accessor([(1.0, 0.0, 0.0, 0.0)] * 3)
    maker.root["accessors"][primitive["attributes"]["COLOR_0"]]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": maker.view(b"\1\0"), "componentType": 5121},
        "values": {"bufferView": maker.view(np.ones(3, "<f4").tobytes())},
    }
    maker.root["skins"] = [{"joints": [1], "inverseBindMatrices": maker.accessor(np.eye(4).reshape(1, 16))}]
    maker.root["nodes"] = [{"mesh": 0, "skin": 0}, {"children": [2]}, {"mesh": 0}]
    maker.root["scenes"] = [{"nodes": [0, 1]}]
    maker.root["samplers"] = [{"wrapS": 10497}]
    maker.root["textures"][0]["sampler"] = 0
    maker.glb()
    return maker


def valid_files() -> dict[str, bytes]:
    """One whole file per format: what the damage starts from."""
    maker = _full_maker()
    gltf = copy.deepcopy(maker.root)
    gltf["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(maker.binary).decode()
    return {
        "glb": maker.glb(),
        "gltf": json.dumps(gltf).encode(),
        "obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\n",
        "ply": _ply_file(),
        "stl": _stl_file(),
    }


# --- GLB -------------------------------------------------------------------------------------------------------------


def _glb_containers() -> Iterator[Case]:
    data = valid_files()["glb"]
    for size in (0, 1, 3, 4, 11, 12, 19, 20, 21, 100, len(data) // 2, len(data) - 100, len(data) - 1):
        yield Case(f"glb cut to {size} bytes", "cut.glb", data[:size])
    for name, offset, value in (
        ("magic", 0, b"GLTF"),
        ("version 1", 4, struct.pack("<I", 1)),
        ("version 3", 4, struct.pack("<I", 3)),
        ("total too long", 8, struct.pack("<I", len(data) + 4)),
        ("total of 4 GB", 8, b"\xff\xff\xff\xff"),
        ("total too short", 8, struct.pack("<I", 40)),
        ("total zero", 8, bytes(4)),
        ("json chunk of 4 GB", 12, b"\xff\xff\xff\xff"),
        ("json chunk empty", 12, bytes(4)),
        ("json chunk of other type", 16, b"NOSJ"),
    ):
        yield Case(f"glb {name}", "bad.glb", data[:offset] + value + data[offset + len(value) :])
    yield Case("glb of zeros", "zeros.glb", bytes(1000))
    yield Case("glb without binary chunk", "nobin.glb", container(_full_maker().root))
    yield Case("glb with too much json", "long.glb", container(b"[" + b" " * (17 << 20) + b"]"))
    for name, text in (
        ("list", b"[]"),
        ("null", b"null"),
        ("empty object", b"{}"),
        ("not utf-8", b'{"asset":"\xff\xfe"}'),
        ("open brace", b'{"asset":'),
        ("nan", b'{"asset":NaN}'),
        ("nested 100000 deep", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("number of 10000 digits", b'{"asset":' + b"9" * 10_000 + b"}"),
    ):
        yield Case(f"glb json {name}", "json.glb", container(text))


def _set(root: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        root = root[step]
    if value is _REMOVED:
        del root[path[-1]]
    else:
        root[path[-1]] = value


_REMOVED = object()
_INDEX = (-1, 99, 1.5, "0", None, True, [0], 2**70)
_LIST = ({}, "x", 3, None, [None], [[]])
_PRIMITIVE = ("meshes", 0, "primitives", 0)
_POSITION = ("accessors", 0)
FIELDS: tuple[tuple[tuple[Any, ...], tuple[Any, ...]], ...] = (
    (("asset", "version"), ("1.0", "3.0", 2, None)),
    (("asset",), ([], "x", None)),
    (("scene",), _INDEX),
    (("scenes",), _LIST[1:]),
    (("scenes", 0, "nodes"), ([99], [-1], ["0"], [0, 0], [0, 1, 2], "x", [])),
    (("nodes",), _LIST[1:]),
    (("nodes", 0, "mesh"), _INDEX),
    (("nodes", 0, "skin"), _INDEX),
    (("nodes", 2, "children"), ([1], [2], [0], [99], [1.0], {})),
    (("nodes", 2, "matrix"), ([1] * 15, [NAN] * 16, ["1"] * 16, 5, [1e300] * 16, [None] * 16)),
    (("nodes", 2, "translation"), ([0, 0], [0, 0, INF], "xyz", [1e39, 0, 0])),
    (("nodes", 2, "rotation"), ([0, 0, 0, 0], [0, 0, 1], [0, 0, 0, None])),
    (("nodes", 2, "scale"), ([1, 1], [1, 1, NAN], {"x": 1})),
    (("meshes",), _LIST[1:]),
    (("meshes", 0, "primitives"), (*_LIST[1:], [])),
    ((*_PRIMITIVE, "mode"), (-1, 7, 4.0, "4", None, 0, 1, 2, 3)),
    ((*_PRIMITIVE, "indices"), _INDEX),
    ((*_PRIMITIVE, "material"), _INDEX),
    ((*_PRIMITIVE, "attributes"), ([], "x", None, {})),
    ((*_PRIMITIVE, "attributes", "POSITION"), _INDEX),
    ((*_PRIMITIVE, "attributes", "NORMAL"), (99, -1, "1", 1)),
    ((*_PRIMITIVE, "attributes", "TEXCOORD_0"), (99, 0, None)),
    ((*_PRIMITIVE, "attributes", "COLOR_0"), (99, 1)),
    ((*_PRIMITIVE, "attributes", "JOINTS_0"), (99, 0)),
    ((*_PRIMITIVE, "attributes", "WEIGHTS_0"), (99, 0, _REMOVED)),
    ((*_POSITION, "count"), (-1, 1.5, "3", None, True, 4, 10**9, 2**31, 2**62, 2**70, _REMOVED)),
    ((*_POSITION, "type"), ("VEC2", "VEC4", "SCALAR", "MAT3", "vec3", 3, None, _REMOVED)),
    ((*_POSITION, "componentType"), (0, 5124, 5130, "5126", None, -5126, _REMOVED)),
    ((*_POSITION, "byteOffset"), (-4, 4, 10**12, "0", 0.5)),
    ((*_POSITION, "bufferView"), _INDEX),
    ((*_POSITION, "normalized"), (1, "true", None)),
    (("bufferViews",), _LIST[1:]),
    (("bufferViews", 0, "buffer"), _INDEX),
    (("bufferViews", 0, "byteOffset"), (-1, 10**9, 2**63, "0", None)),
    (("bufferViews", 0, "byteLength"), (-1, 0, 8, 10**9, 2**63, None, _REMOVED)),
    (("bufferViews", 0, "byteStride"), (-12, 4, 256, 252, 1.0, "12")),
    (("buffers",), (*_LIST[1:], [])),
    (("buffers", 0, "byteLength"), (-1, 0, 10, 10**12, None, "1", _REMOVED)),
    (("skins", 0, "joints"), ([], [99], [-1], "x", None)),
    (("skins", 0, "inverseBindMatrices"), (99, 0, -1)),
    (("textures", 0, "source"), (99, -1, None, _REMOVED)),
    (("textures", 0, "sampler"), (99, "0")),
    (("samplers", 0, "wrapS"), (-1, "REPEAT", None)),
    (("images", 0, "bufferView"), (99, 0, -1, None)),
    (("materials",), _LIST[1:]),
    (("materials", 0, "alphaMode"), ("CLEAR", 1, None)),
    (("materials", 0, "alphaCutoff"), (NAN, "x", None)),
    (("materials", 0, "doubleSided"), (1, "yes")),
    (("materials", 0, "emissiveFactor"), ([1, 1], [1, 1, INF], 1)),
    (("materials", 0, "pbrMetallicRoughness"), ([], 1)),
    (("materials", 0, "pbrMetallicRoughness", "baseColorFactor"), ([1, 1, 1], [1, 1, 1, NAN], "red")),
    (("materials", 0, "pbrMetallicRoughness", "metallicFactor"), ("1", [1], True)),
    (("materials", 0, "pbrMetallicRoughness", "baseColorTexture"), (3, [], {}, {"index": 9}, {"index": "0"})),
    (("materials", 0, "extensions"), ([], "x")),
    (("extensionsRequired",), ("x", [1], ["KHR_draco_mesh_compression"], ["EXT_meshopt_compression"], ["VENDOR_x"])),
)


def _glb_fields() -> Iterator[Case]:
    """One member of the JSON replaced by a value that it must not have."""
    maker = _full_maker()
    for path, values in FIELDS:
        for number, value in enumerate(values):
            root = copy.deepcopy(maker.root)
            _set(root, path, value)
            name = ".".join(map(str, path))
            yield Case(f"glb {name} case {number}", "field.glb", container(root, maker.binary))
    for place in ("indices", "values"):
        for name, value in (("bufferView", 99), ("bufferView", None), ("byteOffset", 10**6), ("byteOffset", -1)):
            root = copy.deepcopy(maker.root)
            color = root["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
            root["accessors"][color]["sparse"][place][name] = value
            yield Case(f"glb sparse {place}.{name} {value}", "sparse.glb", container(root, maker.binary))
    for name, value in (("count", 2), ("count", -1), ("count", 10**12), ("indices", _REMOVED), ("values", 3)):
        root = copy.deepcopy(maker.root)
        color = root["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
        _set(root["accessors"][color]["sparse"], (name,), value)
        shown = "removed" if value is _REMOVED else value
        yield Case(f"glb sparse {name} {shown}", "sparse.glb", container(root, maker.binary))


def _with(change: Callable[[Maker, dict[str, Any]], None]) -> bytes:
    maker, primitive = triangle()
    change(maker, primitive)
    return maker.glb()


def _glb_contents() -> Iterator[Case]:
    """Sound containers with contents that make no mesh."""

    def positions(values: Any) -> bytes:
        maker = Maker()
        maker.primitive(values)
        return maker.glb()

    for name, bad in (("nan", NAN), ("infinite", INF), ("minus infinite", -INF), ("huge", 3e38)):
        yield Case(f"glb {name} position", "value.glb", positions([(0, 0, 0), (1, bad, 0), (0, 1, 0)]))
    rows = {"NORMAL": (0, 0, 1), "TEXCOORD_0": (0, 0), "COLOR_0": (1, 1, 1), "TANGENT": (1, 0, 0, 1)}
    for attribute, good in rows.items():
        for bad in (NAN, INF):

            def spoil(maker: Maker, primitive: dict[str, Any], attribute=attribute, good=good, bad=bad) -> None:
                rows = [list(good) for _ in range(3)]
                rows[1][0] = bad
                primitive["attributes"][attribute] = maker.accessor(rows)

            if attribute != "COLOR_0" or bad is NAN:  # infinite colours are clamped to white
                yield Case(f"glb {bad} in {attribute}", "value.glb", _with(spoil))
    yield Case("glb index out of range", "index.glb", _with(lambda m, p: p.update(indices=m.accessor([0, 1, 3], "u2"))))
    yield Case("glb two corners", "index.glb", _with(lambda m, p: p.update(indices=m.accessor([0, 1], "u2"))))
    yield Case("glb four corners", "index.glb", _with(lambda m, p: p.update(indices=m.accessor([0, 1, 2, 0], "u2"))))
    yield Case("glb float indices", "index.glb", _with(lambda m, p: p.update(indices=m.accessor([0.0, 1.0, 2.0]))))
    yield Case("glb signed indices", "index.glb", _with(lambda m, p: p.update(indices=m.accessor([0, 1, 2], "i2"))))
    yield Case("glb no corners", "index.glb", _with(lambda m, p: p.update(indices=m.accessor(np.zeros(0), "u2"))))
    yield Case("glb strip of two", "strip.glb", _with(lambda m, p: p.update(mode=5, indices=m.accessor([0, 1], "u2"))))
    short = _with(lambda m, p: p["attributes"].update(NORMAL=m.accessor([(0, 0, 1.0)] * 2)))
    yield Case("glb short normals", "normals.glb", short)
    yield Case("glb empty scene", "scene.glb", _with(lambda m, p: m.root.update(scenes=[{}])))
    yield Case("glb camera only", "scene.glb", _with(lambda m, p: m.root.update(nodes=[{"camera": 0}])))
    yield Case("glb external buffer", "uri.glb", _external("buffers", "mesh.bin"))
    yield Case("glb buffer over http", "uri.glb", _external("buffers", "http://example.invalid/mesh.bin"))
    yield Case("glb buffer from a file url", "uri.glb", _external("buffers", "file:///etc/hostname"))
    yield Case("glb buffer path escape", "uri.glb", _external("buffers", "../../secret.bin"))
    yield Case("glb external image", "uri.glb", _external("images", "texture.png"))
    yield Case("glb image path escape", "uri.glb", _external("images", "../texture.png"))
    yield Case("glb image from absolute path", "uri.glb", _external("images", "/etc/hostname"))
    yield Case("glb cycle of nodes", "graph.glb", _graph([{"children": [1], "mesh": 0}, {"children": [0]}]))
    yield Case("glb node is its own child", "graph.glb", _graph([{"children": [0], "mesh": 0}]))
    yield Case("glb node with two parents", "graph.glb", _graph([{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]))
    chain = [{"children": [i + 1]} for i in range(5000)] + [{"mesh": 0}]
    yield Case("glb 5000 levels of nodes", "graph.glb", _graph(chain))
    yield Case("glb 30000 nodes", "graph.glb", _graph([{"mesh": 0}] + [{}] * 30_000))
    yield Case("glb scales that overflow", "graph.glb", _graph(_tower(20)))
    yield Case("glb instances beyond the limit", "graph.glb", _instance_bomb())
    yield Case("glb rows without data", "accessor.glb", _rows_without_data())
    yield Case("glb buffer without data", "buffer.glb", _second_buffer())
    yield Case("glb draco primitive", "draco.glb", _with(_draco))


def _external(kind: str, uri: str) -> bytes:
    maker, _ = textured_triangle()
    maker.glb()
    maker.root[kind][0]["uri"] = uri
    return container(maker.root, maker.binary)


def _graph(nodes: list[dict[str, Any]]) -> bytes:
    maker, _ = triangle()
    maker.root.update(nodes=nodes, scenes=[{"nodes": [0, *range(1, len(nodes))] if len(nodes) > 10_000 else [0]}])
    return maker.glb()


def _tower(levels: int) -> list[dict[str, Any]]:
    return [{"children": [i + 1], "scale": [1e29] * 3} for i in range(levels)] + [{"mesh": 0}]


def _instance_bomb() -> bytes:
    maker = Maker()
    maker.primitive(np.zeros((3, 3)), np.zeros(30_000))
    maker.root.update(nodes=[{"mesh": 0}] * 3_000, scenes=[{"nodes": list(range(3_000))}])
    return maker.glb()


def _rows_without_data() -> bytes:
    maker, _ = triangle()
    accessor = maker.root["accessors"][0]
    del accessor["bufferView"]
    accessor["count"] = 15_000_000
    return maker.glb()


def _second_buffer() -> bytes:
    maker, _ = triangle()
    maker.glb()
    maker.root["buffers"].append({"byteLength": 100})
    return container(maker.root, maker.binary)


def _draco(maker: Maker, primitive: dict[str, Any]) -> None:
    primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    del maker.root["accessors"][0]["bufferView"]


# --- glTF ------------------------------------------------------------------------------------------------------------


def _embedded() -> Iterator[Case]:
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


# --- textures --------------------------------------------------------------------------------------------------------


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


def _textures() -> Iterator[Case]:
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


# --- OBJ, PLY, STL ---------------------------------------------------------------------------------------------------


def _obj() -> Iterator[Case]:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    bodies = {
        "empty": "",
        "comments only": "# nothing\n",
        "vertices only": corners,
        "lines only": corners + "l 1 2 3\n",
        "two numbers per vertex": "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n",
        "vertex of words": "v zero 0 0\n" + corners + "f 1 2 3\n",
        "nan vertex": "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "infinite vertex": "v inf 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "overflowing vertex": "v 1e999 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "index zero": corners + "f 0 1 2\n",
        "index too large": corners + "f 1 2 4\n",
        "index too negative": corners + "f -1 -2 -4\n",
        "index beyond 64 bits": corners + f"f 1 2 {2**70}\n",
        "index of words": corners + "f a b c\n",
        "float index": corners + "f 1.0 2.0 3.0\n",
        "two corners": corners + "f 1 2\n",
        "no corners": corners + "f\n",
        "missing texture coordinates": corners + "f 1/1 2/1 3/1\n",
        "missing normals": corners + "f 1//1 2//1 3//1\n",
        "empty index": corners + "f / / /\n",
        "nan uv": corners + "vt nan 0\nf 1/1 2/1 3/1\n",
        "uv without numbers": corners + "vt\nf 1/1 2/1 3/1\n",
        "short normal": corners + "vn 0 1\nf 1//1 2//1 3//1\n",
        "nan normal": corners + "vn 0 nan 1\nf 1//1 2//1 3//1\n",
        "digits that are too long": corners + "f 1 2 " + "9" * 5000 + "\n",
    }
    for name, text in bodies.items():
        yield Case(f"obj {name}", "bad.obj", text.encode())
    foreign = ("../m.mtl", "../../etc/passwd", "/etc/passwd", "C:\\m.mtl", "\\\\host\\m.mtl", "http://example.invalid/m")
    for name in (*foreign, "x" * 5000):
        yield Case(f"obj library {name[:30]}", "library.obj", f"mtllib {name}\n{corners}f 1 2 3\n".encode())
    for name in ("../t.png", "/etc/passwd", "..\\t.png", "file:///t.png", "-s 1 1 1 ../../t.png"):
        library = f"newmtl a\nmap_Kd {name}\n".encode()
        body = f"mtllib m.mtl\n{corners}usemtl a\nf 1 2 3\n".encode()
        yield Case(f"obj texture path {name}", "texture.obj", body, {"m.mtl": library})


def _ply_file() -> bytes:
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 3\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return head.encode() + np.array(TRIANGLE, "<f4").tobytes() + struct.pack("<B3i", 3, 0, 1, 2)


def _ply() -> Iterator[Case]:
    whole = _ply_file()
    for size in (0, 3, 4, 30, 100, whole.index(b"end_header"), len(whole) - 40, len(whole) - 13, len(whole) - 1):
        yield Case(f"ply cut to {size} bytes", "cut.ply", whole[:size])
    for name, old, new in (
        ("magic", b"ply\n", b"plx\n"),
        ("format", b"binary_little_endian", b"binary_middle_endian"),
        ("no format", b"format binary_little_endian 1.0\n", b""),
        ("count of words", b"vertex 3", b"vertex three"),
        ("negative count", b"vertex 3", b"vertex -3"),
        ("count of a billion", b"vertex 3", b"vertex 1000000000"),
        ("count of 30 digits", b"vertex 3", b"vertex " + b"9" * 30),
        ("too many vertices", b"vertex 3", b"vertex 4"),
        ("too many faces", b"face 1", b"face 2"),
        ("billions of faces", b"face 1", b"face 4000000000"),
        ("no faces", b"face 1", b"face 0"),
        ("no vertices", b"vertex 3", b"vertex 0"),
        ("unknown type", b"property float x", b"property quad x"),
        ("twice the same property", b"property float y", b"property float x"),
        ("no z", b"property float z", b"property float w"),
        ("list as x", b"property float x", b"property list uchar float x"),
        ("float list length", b"list uchar int", b"list float int"),
        ("faces without corners", b"vertex_indices", b"other_indices"),
        ("scalar corners", b"property list uchar int", b"property int"),
        ("property before element", b"element vertex 3\n", b""),
        ("unknown keyword", b"element face 1", b"elephant face 1"),
        ("no end of header", b"end_header", b"end_heeder"),
        ("index out of range", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 3, 0, 1, 3)),
        ("negative index", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 3, 0, 1, -1)),
        ("list that is too long", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B3i", 200, 0, 1, 2)),
        ("polygon of two corners", struct.pack("<B3i", 3, 0, 1, 2), struct.pack("<B2i", 2, 0, 1)),
        ("nan", struct.pack("<f", 1.0), struct.pack("<f", NAN)),
        ("infinite", struct.pack("<f", 1.0), struct.pack("<f", INF)),
    ):
        assert old in whole
        yield Case(f"ply {name}", "bad.ply", whole.replace(old, new, 1))
    head = whole.partition(b"end_header")[0].replace(b"binary_little_endian", b"ascii") + b"end_header\n"
    for name, body in (
        ("without data", b""),
        ("short row", b"0 0 0\n1 0\n0 1 0\n3 0 1 2\n"),
        ("of words", b"a b c\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("nan", b"nan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"),
        ("face missing", b"0 0 0\n1 0 0\n0 1 0\n"),
        ("face too short", b"0 0 0\n1 0 0\n0 1 0\n3 0 1\n"),
        ("index out of range", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 9\n"),
        ("index nan", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 nan\n"),
        ("index infinite", b"0 0 0\n1 0 0\n0 1 0\n3 0 1 1e400\n"),
        ("list length nan", b"0 0 0\n1 0 0\n0 1 0\nnan 0 1 2\n"),
        ("list length negative", b"0 0 0\n1 0 0\n0 1 0\n-3 0 1 2\n"),
    ):
        yield Case(f"ascii ply {name}", "text.ply", head + body)


def _stl_file() -> bytes:
    return bytes(80) + struct.pack("<I", 1) + np.array(((0, 0, 1), *TRIANGLE), "<f4").tobytes() + bytes(2)


def _stl() -> Iterator[Case]:
    whole = _stl_file()
    for size in (0, 10, 80, 83, 84, 100, len(whole) - 1):
        yield Case(f"stl cut to {size} bytes", "cut.stl", whole[:size])
    for count in (0, 2, 1000, 2**32 - 1):
        size = 84 if count == 0 else len(whole)
        yield Case(f"stl claims {count} facets", "count.stl", whole[:80] + struct.pack("<I", count) + whole[84:size])
    for name, value in (("nan", NAN), ("infinite", INF)):
        yield Case(f"stl {name}", "value.stl", whole.replace(struct.pack("<f", 1.0), struct.pack("<f", value)))
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    for name, text in (
        ("empty", "solid a\nendsolid a\n"),
        ("cut", "solid a\n" + facet),
        ("cut in a facet", "solid a\n" + facet[:50]),
        ("two corners", "solid a\n" + facet.replace("vertex 0 1 0\n", "") + "endsolid\n"),
        ("of words", "solid a\n" + facet.replace("1 0 0", "one 0 0") + "endsolid\n"),
        ("nan", "solid a\n" + facet.replace("1 0 0", "nan 0 0") + "endsolid\n"),
        ("overflow", "solid a\n" + facet.replace("1 0 0", "1e999 0 0") + "endsolid\n"),
    ):
        yield Case(f"ascii stl {name}", "text.stl", text.encode())


# --- anything else ---------------------------------------------------------------------------------------------------


def _foreign() -> Iterator[Case]:
    """Files of one kind under the name of another, and kinds that are not read."""
    others = {
        "png": png((1, 2, 3)),
        "html": b"<!doctype html><p>Not found",
        "zip": b"PK\3\4" + bytes(60),
        "pickle": b"\x80\4N.",
    }
    for kind, data in others.items():
        for suffix in ("glb", "gltf", "obj", "ply", "stl"):
            yield Case(f"{kind} named {suffix}", f"foreign.{suffix}", data)
    whole = valid_files()
    pairs = (("obj", "glb"), ("stl", "glb"), ("glb", "ply"), ("ply", "stl"), ("glb", "gltf"), ("glb", "stl"))
    for kind, suffix in pairs:
        yield Case(f"{kind} named {suffix}", f"foreign.{suffix}", whole[kind])
    for suffix in ("fbx", "usdz", "blend", "txt", "glb.exe", "3mf"):
        yield Case(f"glb named {suffix}", f"foreign.{suffix}", whole["glb"])
