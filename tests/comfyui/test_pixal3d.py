"""The graphs of Pixal3D in a running ComfyUI, on a family of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.checkpoints.demo_folder import DEMO_FOLDER
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.support.gltf import GltfValidate
from bundle3d.tests.support.server import TINY_PIXAL3D, RunGraph
from PIL import Image

GRAPHS = Path(__file__).resolve().parents[1] / "data" / "pixal3d_graphs"
FAST = {"Load Pixal3D.base": TINY_PIXAL3D, "Turntable.frames": 3, "Turntable.size": 128}
IN_ONE = {**FAST, "Views to 3D.texture": "512", "Views to 3D.faces": 4000}
SETTINGS: dict[str, dict[str, Any]] = {
    "Image to 3D (Pixal3D)": {**FAST, "Finish asset.texture": "512", "Finish asset.faces": 4000},
    "Multi-view to 3D (Pixal3D)": IN_ONE,
    "Text to 3D (bundle + Pixal3D)": {**IN_ONE, "Generate.steps": 8},
}
DEMO = pytest.mark.skipif(
    not (DEMO_FOLDER / "model_index.json").is_file(), reason="bundle3d train demo makes the models"
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[DEMO] if name.startswith("Text") else []) for name in SETTINGS]
)
def test_a_graph_gives_a_valid_textured_mesh_and_a_picture(
    name: str, run_graph: RunGraph, gltf_validate: GltfValidate
) -> None:
    graph = json.loads((GRAPHS / f"{name}.json").read_text("utf-8"))
    done = run_graph(graph, SETTINGS[name])
    [saved] = [path for path in done.files(".glb") if path.parent == done.folder]
    assert gltf_validate(saved)["info"]["hasTextures"]
    mesh = read_mesh(saved)
    assert len(mesh.faces) > 100 and mesh.materials[0].base_color_texture is not None
    [picture] = [path for path in done.files(".png") if "picture" in path.name]
    with Image.open(picture) as image:
        darkest, lightest = image.convert("L").getextrema()
    assert lightest - darkest > 50
