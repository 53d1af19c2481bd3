"""The shipped workflows, run by a real ComfyUI with settings that are quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bundle3d.pipelines.meshes.read import read_mesh
from PIL import Image

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
QUICK = {
    "Reconstruct.faces": 5000,
    "Reconstruct.refine_steps": 2,
    "Bake texture.resolution": 512,
    "Turntable.frames": 3,
    "Turntable.size": 64,
}


def test_bundle_image_to_mesh(run_graph: Any, gltf_validate: Any) -> None:
    done = run_graph(WORKFLOWS / "Bundle image to mesh.json", QUICK)
    saved = [file for file in done.files(".glb") if "bundle_" in file.name]
    assert len(saved) == 1
    gltf_validate(saved[0])
    mesh = read_mesh(saved[0])
    assert 3000 < mesh.faces.shape[0] <= 5500
    assert {"base_color_texture", "normal_texture"} <= set(mesh.materials[0].textures)
    low, high = mesh.bounds
    assert 1.8 < float((high - low)[1]) < 2.1
    assert Image.open(done.files(".webp")[0]).n_frames == 3


def test_mesh_to_bundle_and_back(run_graph: Any, gltf_validate: Any) -> None:
    quick = {**QUICK, "Render bundle.tile_size": 256}
    quick["Turntable.frames"] = 1
    done = run_graph(WORKFLOWS / "Mesh to bundle and back.json", quick)
    saved = [file for file in done.files(".glb") if "again_" in file.name]
    gltf_validate(saved[0])
    original = read_mesh(WORKFLOWS / "inputs" / "3d" / "bundle3d_rocket.glb")
    again = read_mesh(saved[0])
    for mine, theirs in zip(again.bounds, original.bounds):
        assert (mine - theirs).abs().max() < 0.06
    bundles = [Image.open(file).size for file in done.files(".png") if "mesh_bundle" in file.name]
    assert bundles == [(1024, 512)]


def test_api_twins_have_the_nodes_of_their_workflows() -> None:
    for file in WORKFLOWS.glob("*.json"):
        nodes = {str(node["id"]): node for node in json.loads(file.read_text("utf-8"))["nodes"]}
        for key, node in json.loads((WORKFLOWS / "api" / file.name).read_text("utf-8")).items():
            assert node["class_type"] == nodes[key]["type"] and node["_meta"]["title"] == nodes[key]["title"]
