"""Meshes changed in a running ComfyUI, and all of them that was not to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.checkpoints.demo_folder import DEMO_FOLDER
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.support.server import Finished, RunGraph

from .test_workflows import SMALL_EDIT, WORKFLOWS, load

TORUS = WORKFLOWS / "inputs" / "3d" / "bundle3d_torus.glb"
DEMO = pytest.mark.skipif(
    not (DEMO_FOLDER / "model_index.json").is_file(), reason="bundle3d train demo makes the models"
)


def without_control_net(name: str) -> dict[str, Any]:
    """A shipped graph that needs the models of text to 3D alone."""
    api = load(WORKFLOWS / "api" / f"{name}.json")
    (net,) = [key for key, node in api.items() if node["class_type"] == "Bundle3D_LoadControlNet"]
    del api[net]
    for node in api.values():
        node["inputs"] = {key: value for key, value in node["inputs"].items() if value != [net, 0]}
    return api


def saved(done: Finished) -> Mesh:
    [path] = [path for path in done.files(".glb") if path.parent == done.folder]
    return read_mesh(path)


def texture_of(mesh: Mesh) -> torch.Tensor:
    texture = mesh.materials[0].base_color_texture
    assert texture is not None
    return texture


def assert_same_geometry(mesh: Mesh, original: Mesh) -> None:
    for name in ("vertices", "faces", "uv", "normals", "transform"):
        assert torch.equal(getattr(mesh, name), getattr(original, name)), name
    assert (mesh.name, mesh.units) == (original.name, original.units)
    assert [material.name for material in mesh.materials] == [material.name for material in original.materials]


def test_keeping_all_of_the_look_gives_the_mesh_back(run_graph: RunGraph) -> None:
    settings = {**SMALL_EDIT, "Load models.base": "tiny", "Keep shape and look.keep_look": 1.0}
    result, original = saved(run_graph(without_control_net("Enhance a mesh"), settings)), read_mesh(TORUS)
    assert_same_geometry(result, original)
    assert torch.equal(texture_of(result), texture_of(original))


@DEMO
def test_a_painted_region_changes_and_nothing_else(run_graph: RunGraph, tmp_path: Path) -> None:
    result, original = saved(run_graph(without_control_net("Retexture a region"), SMALL_EDIT)), read_mesh(TORUS)
    assert_same_geometry(result, original)
    old, new = texture_of(original), texture_of(result)
    changed = (old != new).any(-1)
    blue = new[..., 2].int() > new[..., 0].int() + 40
    assert 0.1 < float(changed.float().mean()) < 0.6
    assert float(blue[changed].float().mean()) > 0.5 and not bool((blue & ~changed).any())
