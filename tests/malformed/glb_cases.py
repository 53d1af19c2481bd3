"""Damaged GLB containers, JSON members of wrong kind or value, and contents that make no mesh."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from bundle3d.tests.malformed.whole_files import Case, full_maker, valid_files
from bundle3d.tests.meshes.gltf_maker import Maker, container, textured_triangle, triangle

NAN, INF = float("nan"), float("inf")


def glb_containers() -> Iterator[Case]:
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
    yield Case("glb without binary chunk", "nobin.glb", container(full_maker().root))
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


def glb_fields() -> Iterator[Case]:
    """One member of the JSON replaced by a value that it must not have."""
    maker = full_maker()
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


def glb_contents() -> Iterator[Case]:
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
