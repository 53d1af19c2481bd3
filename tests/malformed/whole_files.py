"""One whole file per format: what the damage starts from."""

from __future__ import annotations

import base64
import copy
import json
import struct
from dataclasses import dataclass, field

import numpy as np
from bundle3d.tests.meshes.gltf_maker import TRIANGLE, Maker, textured_triangle


@dataclass(frozen=True)
class Case:
    """A file that must be refused, and the files beside it."""

    name: str
    file: str
    data: bytes = field(repr=False)
    beside: dict[str, bytes] = field(default_factory=dict, repr=False)


def full_maker() -> Maker:
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
    maker = full_maker()
    gltf = copy.deepcopy(maker.root)
    gltf["buffers"][0]["uri"] = "data:application/octet-stream;base64," + base64.b64encode(maker.binary).decode()
    return {
        "glb": maker.glb(),
        "gltf": json.dumps(gltf).encode(),
        "obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 3/1/1\n",
        "ply": ply_file(),
        "stl": stl_file(),
    }


def ply_file() -> bytes:
    head = "ply\nformat binary_little_endian 1.0\nelement vertex 3\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return head.encode() + np.array(TRIANGLE, "<f4").tobytes() + struct.pack("<B3i", 3, 0, 1, 2)


def stl_file() -> bytes:
    return bytes(80) + struct.pack("<I", 1) + np.array(((0, 0, 1), *TRIANGLE), "<f4").tobytes() + bytes(2)
