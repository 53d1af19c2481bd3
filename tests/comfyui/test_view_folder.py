"""Load View Folder in a running ComfyUI: a folder that was put into its input folder becomes a mesh."""

from __future__ import annotations

import json
from typing import Any

from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.support.server import TINY_PIXAL3D, RunGraph
from bundle3d.tests.support.view_folder import pictured_sphere, save_view_folder

from .test_nodes import get, submit

FOLDER = "view folders/sphere"


def graph(folder: str) -> dict[str, Any]:
    parts = ("decoders", "texture_decoder", "image_encoder", "structure_flow", "shape_flow", "fine_shape_flow")
    models = dict.fromkeys((*parts, "texture_flow"), "from base") | {"upsampler": "from image encoder"}
    drawing = {"fov": 0.0, "seed": 0, "resolution": 0, "most_tokens": 49152}
    finish = {"surface": "watertight", "faces": 4000, "texture": "512"}
    nodes = {
        "views": ("LoadViewFolder", {"folder": folder}),
        "models": (
            "LoadPixal3D",
            {**models, "base": TINY_PIXAL3D, "several_views": True, "precision": "as stored"},
        ),
        "mesh": ("Pixal3DImageTo3D", {"models": ["models", 0], "image": ["views", 0], **drawing, **finish}),
        "save": ("SaveMesh", {"mesh": ["mesh", 0], "file_format": "glb", "filename_prefix": "3d/sphere"}),
    }
    return {id: {"class_type": f"Bundle3D_{kind}", "inputs": inputs} for id, (kind, inputs) in nodes.items()}


def test_a_folder_of_views_becomes_a_mesh(comfyui: ComfyServer, run_graph: RunGraph) -> None:
    save_view_folder(pictured_sphere(), comfyui.input_folder / FOLDER)
    info = json.loads(get(comfyui, "/object_info/Bundle3D_LoadViewFolder"))["Bundle3D_LoadViewFolder"]
    assert FOLDER in info["input"]["required"]["folder"][1]["options"]
    done = run_graph(graph(FOLDER))
    [saved] = [path for path in done.files(".glb") if path.parent == done.folder]
    mesh = read_mesh(saved)
    assert len(mesh.faces) > 100 and mesh.materials[0].base_color_texture is not None
    lines = [line for lines in done.result["texts"].values() for line in lines]
    assert any(line.startswith("4 view(s) of 48 x 48 pixels") for line in lines)


def test_a_folder_outside_is_refused_before_anything_runs(comfyui: ComfyServer) -> None:
    save_view_folder(pictured_sphere(), comfyui.home / "outside")
    status, answer = submit(comfyui, graph("../outside"))
    assert status == 400 and "Expected a folder with transforms.json in ComfyUI's input folder" in json.dumps(answer)
