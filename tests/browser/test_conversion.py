"""The runner's conversion of saved graphs agrees with the real frontend's."""

from __future__ import annotations

import importlib.resources
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundle3d.pipelines.runner.convert import to_api
from bundle3d.pipelines.runner.graph import input_options
from bundle3d.pipelines.runner.server import ComfyServer

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
OURS = sorted((ROOT / "workflows").glob("*.json"))
# Templates of ComfyUI with bypassed nodes, subgraphs, promoted widgets, dynamic combos and growing inputs.
CORE = [
    "default",
    "3d_hunyuan3d_multiview_to_model",
    "3d_triposplat_image_to_gaussian_splat",
    "image_krea2_turbo_t2i",
    "image_ernie_image",
    "video_minimax_h3_t2v",
]
TO_PROMPT = """async (graph) => {
    await window.app.loadGraphData(graph, true, false, null);
    return (await window.app.graphToPrompt()).output;
}"""


def core_template(name: str) -> Path:
    return Path(str(importlib.resources.files("comfyui_workflow_templates_json"))) / "templates" / f"{name}.json"


@pytest.mark.parametrize("file", [*OURS, *map(core_template, CORE)], ids=lambda file: file.stem)
def known(api: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """The graph without the values of buttons and viewers, which no node takes."""
    found = {}
    for key, node in api.items():
        takes = input_options(info[node["class_type"]], node["inputs"])
        inputs = {name: value for name, value in node["inputs"].items() if name in takes}
        found[key] = {"class_type": node["class_type"], "inputs": inputs, "title": node["_meta"]["title"]}
    return found


@pytest.mark.parametrize("file", [*OURS, *map(core_template, CORE)], ids=lambda file: file.stem)
def test_conversion_is_that_of_the_frontend(file: Path, shared_page: Page, comfyui: ComfyServer) -> None:
    graph = json.loads(file.read_text(encoding="utf-8"))
    with urllib.request.urlopen(f"{comfyui.url}/object_info", timeout=60) as answer:
        info = json.load(answer)
    expected = shared_page.evaluate(TO_PROMPT, graph)
    assert known(to_api(graph, info), info) == known(expected, info)
