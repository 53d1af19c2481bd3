"""The nodes in a running ComfyUI: registered, documented, translated, and refusing what they must."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.runner.server import ComfyServer

ROOT = Path(__file__).resolve().parents[2]
NODES = sorted(json.loads((ROOT / "locales/en/nodeDefs.json").read_text("utf-8")))


def get(server: ComfyServer, path: str) -> bytes:
    with urllib.request.urlopen(server.url + urllib.parse.quote(path), timeout=60) as answer:
        return bytes(answer.read())


def submit(server: ComfyServer, graph: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and answer of POST /prompt."""
    for number, node in graph.items():
        node["_meta"] = {"title": number}
    request = urllib.request.Request(
        f"{server.url}/prompt", json.dumps({"prompt": graph}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_all_nodes_are_registered(comfyui: ComfyServer) -> None:
    info = json.loads(get(comfyui, "/object_info"))
    assert sorted(name for name in info if name.startswith("Bundle3D_")) == NODES
    assert "Bundle3D: the nodes" not in comfyui.log()


def test_workflows_and_their_pictures_are_templates(comfyui: ComfyServer) -> None:
    templates = json.loads(get(comfyui, "/workflow_templates"))
    (pack,) = [name for name, workflows in templates.items() if "Bundle image to mesh" in workflows]
    assert sorted(templates[pack]) == sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
    for workflow in templates[pack]:
        assert json.loads(get(comfyui, f"/api/workflow_templates/{pack}/{workflow}.json"))["nodes"]
        assert get(comfyui, f"/api/workflow_templates/{pack}/{workflow}.jpg")[:2] == b"\xff\xd8"


def test_help_pages_and_translations_are_served(comfyui: ComfyServer) -> None:
    extensions = json.loads(get(comfyui, "/extensions"))
    (script,) = [path for path in extensions if path.endswith("/js/inspect_bundle.js")]
    base = script.removesuffix("/js/inspect_bundle.js")
    for node in NODES:
        assert get(comfyui, f"{base}/docs/{node}.md").startswith(b"# ")
        assert get(comfyui, f"{base}/docs/{node}/zh.md").startswith(b"# ")
    translations = json.loads(get(comfyui, "/i18n"))
    assert set(NODES) <= set(translations["zh"]["nodeDefs"]) & set(translations["en"]["nodeDefs"])


@pytest.mark.parametrize("name", ["../secret.glb", "/etc/passwd", "nothing.glb", "notes.txt", ""])
def test_a_mesh_outside_the_input_folder_is_refused_before_the_run(comfyui: ComfyServer, name: str) -> None:
    status, answer = submit(
        comfyui,
        {
            "1": {"class_type": "Bundle3D_LoadMesh", "inputs": {"model_file": name}},
            "2": {"class_type": "Bundle3D_MeshReport", "inputs": {"mesh": ["1", 0], "fit_boxes": False, "seed": 0}},
        },
    )
    assert status == 400
    (error,) = answer["node_errors"]["1"]["errors"]
    assert "Expected" in error["details"]


def test_values_out_of_range_are_refused_before_the_run(comfyui: ComfyServer) -> None:
    inputs = {"mesh": ["1", 0], "frames": 0, "size": 512, "shading": "chalk", "elevation": 15.0}
    status, answer = submit(
        comfyui,
        {
            "1": {"class_type": "Bundle3D_LoadMesh", "inputs": {"model_file": "3d/bundle3d_rocket.glb"}},
            "2": {"class_type": "Bundle3D_Turntable", "inputs": inputs},
            "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        },
    )
    assert status == 400
    kinds = {error["type"] for error in answer["node_errors"]["2"]["errors"]}
    assert kinds == {"value_smaller_than_min", "value_not_in_list"}
