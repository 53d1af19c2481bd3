"""Pixal3D-D in a running ComfyUI, on a family of random weights in the published files."""

from __future__ import annotations

from typing import Any

from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.topology import is_watertight
from bundle3d.tests.support.gltf import GltfValidate
from bundle3d.tests.support.server import RunGraph
from bundle3d.tests.support.tiny_pixal3d_d import ENCODER, FOLDER, RESOLUTION, UPSAMPLER

GRAPH: dict[str, Any] = {
    "photo": {"class_type": "Bundle3D_LoadPhoto", "inputs": {"image": "bundle3d_photo.png", "longest_side": 512}},
    "models": {
        "class_type": "Bundle3D_LoadPixal3DD",
        "inputs": {"folder": FOLDER, "image_encoder": ENCODER, "upsampler": UPSAMPLER, "precision": "as stored"},
    },
    "mesh": {
        "class_type": "Bundle3D_Pixal3DDImageTo3D",
        "inputs": {
            "models": ["models", 0], "image": ["photo", 0], "mask": ["photo", 1], "fov": 11.46, "fill_volume": True,
            "seed": 5, "fine": True, "steps": 2, "guidance": 0.0, "outer_only": True, "faces": 3000,
        },
    },
    "save": {
        "class_type": "Bundle3D_SaveMesh",
        "inputs": {"file_format": "glb", "filename_prefix": "3d/pixal3d_d", "mesh": ["mesh", 0]},
    },
    "picture": {"class_type": "SaveImage", "inputs": {"filename_prefix": "3d/seen", "images": ["mesh", 2]}},
}  # fmt: skip


def test_a_photo_becomes_a_closed_mesh(run_graph: RunGraph, gltf_validate: GltfValidate) -> None:
    done = run_graph(GRAPH)
    [saved] = [path for path in done.files(".glb") if path.parent == done.folder]
    gltf_validate(saved)
    mesh = read_mesh(saved)
    assert 100 < len(mesh.faces) <= 3500 and is_watertight(mesh.faces)
    lines = "\n".join(line for lines in done.result["texts"].values() for line in lines)
    assert f"Resolution {RESOLUTION}, latents at" in lines and "outline overlap" in lines
    assert len(done.files(".png")) == 1
