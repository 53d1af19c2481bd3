"""The shipped workflows, run unattended on the real ComfyUI with small settings."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.pipelines.checkpoints.demo_folder import (
    CONTROLNET_DEMO_FOLDER,
    DEMO_FOLDER,
    DEMO_PIXAL3D_FOLDER,
    DEMO_RECONSTRUCTION_MODEL,
    MULTIVIEW_DEMO_FOLDER,
)
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.pixal3d.settings import SINGLE
from bundle3d.pipelines.runner.convert import MUTED, to_api
from bundle3d.pipelines.runner.graph import with_titles
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.pipelines.views.bundle import split_bundle
from bundle3d.tests.support.gltf import GltfValidate
from bundle3d.tests.support.server import RunGraph
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / "workflows"
BUNDLES = ROOT / "tests" / "data" / "bundles"
SMALL = {
    "Reconstruct.faces": 5000,
    "Reconstruct.refine_steps": 4,
    "Reconstruct.integration_steps": 4,
    "Bake texture.resolution": "512",
    "Bake texture.target_faces": 5000,
    "Turntable.size": 128,
}
SMALL_VIEWS = {"Prepare photo.size": 256, "Generate views.steps": 12, "Reference bundle.tile_size": 128}
SMALL_COMPARISON = {"Compare meshes.frames": 3, "Compare meshes.size": 128}
SMALL_EDIT = {"Generate.steps": 8, **SMALL_COMPARISON}
SMALL_TURNTABLE = {"Turntable.frames": 3, "Turntable.size": 128}
SMALL_PIXAL3D = {**SMALL_TURNTABLE, "Views to 3D.texture": "512", "Views to 3D.faces": 5000}
SETTINGS: dict[str, dict[str, Any]] = {
    "Bundle image to mesh": {**SMALL, "Turntable.frames": 3},
    "Mesh to bundle and back": {**SMALL, "Render bundle.tile_size": 128},
    "Text to 3D": {**SMALL, "Turntable.frames": 3},
    "Text to 3D (core FLUX nodes)": {**SMALL, "Turntable.frames": 3},
    "Image to 3D": {**SMALL, **SMALL_VIEWS, "Project photo.resolution": "512", "Turntable.frames": 3},
    "Multi-view images to 3D": {
        "Reconstruct views.texture": "512",
        "Reconstruct views.target_faces": 5000,
        **SMALL_TURNTABLE,
    },
    "Photo to bundle": SMALL_VIEWS,
    "Enhance a mesh": SMALL_EDIT,
    "Edit a mesh by prompt": SMALL_EDIT,
    "Retexture a region": SMALL_EDIT,
    "Image to 3D (Pixal3D)": {**SMALL_TURNTABLE, "Finish asset.texture": "512", "Finish asset.faces": 5000},
    "Multi-view to 3D (Pixal3D)": SMALL_PIXAL3D,
    "Text to 3D (bundle + Pixal3D)": {**SMALL, **SMALL_COMPARISON, **SMALL_PIXAL3D},
}
WITHOUT_MESH = {"Photo to bundle"}
DEMO, VIEWS, RECONSTRUCTION, CONTROL, PIXAL3D = (
    DEMO_FOLDER / "model_index.json",
    MULTIVIEW_DEMO_FOLDER / "model_index.json",
    DEMO_RECONSTRUCTION_MODEL,
    CONTROLNET_DEMO_FOLDER / "config.json",
    DEMO_PIXAL3D_FOLDER / SINGLE,
)
WEIGHTS = {
    "Text to 3D": [DEMO],
    "Text to 3D (core FLUX nodes)": [DEMO],
    "Image to 3D": [DEMO, VIEWS, RECONSTRUCTION],
    "Multi-view images to 3D": [RECONSTRUCTION],
    "Photo to bundle": [DEMO, VIEWS, RECONSTRUCTION],
    "Enhance a mesh": [DEMO, CONTROL],
    "Edit a mesh by prompt": [DEMO, CONTROL],
    "Retexture a region": [DEMO, CONTROL],
    "Image to 3D (Pixal3D)": [PIXAL3D],
    "Multi-view to 3D (Pixal3D)": [PIXAL3D],
    "Text to 3D (bundle + Pixal3D)": [DEMO, RECONSTRUCTION, PIXAL3D],
}


def with_weights(name: str) -> Any:
    """A test's parameter, skipped where the demo models of the workflow are not there."""
    missing = [path.parent.name for path in WEIGHTS.get(name, ()) if not path.is_file()]
    reason = f"the models {', '.join(missing)} are not there; bundle3d train makes them"
    return pytest.param(name, marks=pytest.mark.skipif(bool(missing), reason=reason))


def object_info(server: ComfyServer) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/object_info", timeout=60) as answer:
        return dict(json.load(answer))


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def titles(name: str) -> list[str]:
    """Those of the nodes of a workflow that run."""
    return [node["_meta"]["title"] for node in load(WORKFLOWS / "api" / f"{name}.json").values()]


def test_every_workflow_is_run_here() -> None:
    names = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
    assert names == sorted(SETTINGS) == sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json"))


@pytest.mark.parametrize("name", [with_weights(name) for name in SETTINGS if name not in WITHOUT_MESH])
def test_a_workflow_gives_a_valid_textured_mesh_and_a_picture(
    name: str, run_graph: RunGraph, gltf_validate: GltfValidate
) -> None:
    done = run_graph(WORKFLOWS / f"{name}.json", SETTINGS[name])
    saved = [path for path in done.files(".glb") if path.parent == done.folder]
    assert len(saved) == sum(title.startswith("Save") and title.endswith("mesh") for title in titles(name))
    for path in saved:
        report = gltf_validate(path)
        assert report["info"]["hasTextures"] and report["info"]["totalTriangleCount"] > 1000
        mesh = read_mesh(path)
        assert mesh.uv is not None and mesh.materials[0].base_color_texture is not None
    pictures = [path for path in done.files(".png") if path.parent == done.folder]
    assert pictures
    for path in pictures:
        with Image.open(path) as image:
            darkest, lightest = image.convert("L").getextrema()
            assert lightest - darkest > 50, f"{path.name} is empty"


@pytest.mark.parametrize("name", [with_weights(name) for name in WITHOUT_MESH])
def test_a_photo_gives_a_bundle_with_an_object_in_every_view(name: str, run_graph: RunGraph) -> None:
    done = run_graph(WORKFLOWS / f"{name}.json", SETTINGS[name])
    [saved] = [path for path in done.files(".png") if path.parent == done.folder]
    with Image.open(saved) as image:
        views = split_bundle(torch.from_numpy(np.asarray(image.convert("RGB")).copy()).float() / 255.0)
    covered = views.mask.mean((1, 2))
    assert len(covered) == 4 and 0.05 < covered.min() <= covered.max() < 0.8
    facing = (views.normal[0, ..., 2] > 0.0)[views.mask[0] > 0.5].float().mean()
    assert facing > 0.8, "what the front shows is turned to the front"


@pytest.mark.parametrize("name", SETTINGS)
def test_the_api_twin_is_the_same_graph(name: str, comfyui: ComfyServer) -> None:
    info = object_info(comfyui)
    ui, api = load(WORKFLOWS / f"{name}.json"), load(WORKFLOWS / "api" / f"{name}.json")
    values = {key: node["inputs"] for key, node in with_titles(to_api(ui, info), info).items()}
    twin = {
        key: {name: value for name, value in node["inputs"].items() if name in values[key] or value}
        for key, node in api.items()
    }
    assert values == twin


def test_the_other_way_to_a_mesh_can_be_left_out(comfyui: ComfyServer) -> None:
    """As the frontend does it: every node inside the group is muted."""
    info, graph = object_info(comfyui), load(WORKFLOWS / "Text to 3D (bundle + Pixal3D).json")
    (box,) = [group["bounding"] for group in graph["groups"] if "to compare" in group["title"]]
    for node in graph["nodes"]:
        x, y = node["pos"]
        if box[0] <= x <= box[0] + box[2] and box[1] <= y <= box[1] + box[3]:
            node["mode"] = MUTED
    left = with_titles(to_api(graph, info), info)
    used = {value[0] for node in left.values() for value in node["inputs"].values() if isinstance(value, list)}
    assert used <= set(left)
    names = [node["_meta"]["title"] for node in left.values()]
    assert "Save mesh" in names and not {"Save other mesh", "Reconstruct", "Compare meshes"} & set(names)


def up_to(api: dict[str, Any], title: str) -> dict[str, Any]:
    """The node called ``title`` and all that it needs."""
    (last,) = [key for key, node in api.items() if node["_meta"]["title"] == title]
    found: dict[str, Any] = {}
    waiting = [last]
    while waiting:
        key = waiting.pop()
        found[key] = api[key]
        waiting += [value[0] for value in api[key]["inputs"].values() if isinstance(value, list)]
    return found


def test_cores_own_nodes_draw_the_same_bundle(run_graph: RunGraph) -> None:
    """Of random weights, which hide no difference."""
    graphs = {
        "Text to 3D": {"Prompt.text": "a cone", "Generate.steps": 6, "Load models.base": "tiny"},
        "Text to 3D (core FLUX nodes)": {"Prompt.text": "a cone", "Schedule.steps": 6, "Load models.folder": "tiny"},
    }
    bundles = []
    for name, settings in graphs.items():
        done = run_graph(up_to(load(WORKFLOWS / "api" / f"{name}.json"), "Save bundle"), settings)
        [picture] = done.files(".png")
        with Image.open(picture) as image:
            bundles.append(np.asarray(image.convert("RGB"), dtype=np.int16))
    assert np.abs(bundles[0] - bundles[1]).max() <= 1
    assert bundles[0].std() > 5


def test_a_bundle_of_ones_own_gives_its_own_shape(run_graph: RunGraph) -> None:
    settings = {**SETTINGS["Bundle image to mesh"], "Bundle image.image": BUNDLES / "3.png"}
    done = run_graph(WORKFLOWS / "api" / "Bundle image to mesh.json", settings)
    [saved] = [path for path in done.files(".glb") if path.parent == done.folder]
    extent = read_mesh(saved).vertices.abs().amax(0)
    assert torch.allclose(extent, torch.full((3,), 0.6), atol=0.03), "bundle 3 is a cube of half-extent 0.6"
