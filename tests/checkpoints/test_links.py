"""Model links: in every shipped workflow, for every file of the registry that a node names."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from bundle3d.pipelines.checkpoints.links import add_model_links
from bundle3d.pipelines.checkpoints.registry import REGISTRY

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
LORA = REGISTRY.named("Kiss3DGen LoRA").link()
VAE = REGISTRY.named("FLUX.1 autoencoder").link()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.stem)
def test_shipped_workflows_have_their_links(file: Path) -> None:
    workflow = json.loads(file.read_text("utf-8"))
    assert add_model_links(workflow) == workflow, "write the result of links.add_model_links into the workflow"


def test_files_are_linked_wherever_a_widget_names_them() -> None:
    lora = {"widgets_values": ["kiss3d\\rgb_normal.safetensors", 1.0], "properties": {}}
    sampler = {"widgets_values": [7, "fixed"], "properties": {"cnr_id": "comfy-core"}}
    vae = {"widgets_values": {"vae_name": "ae.safetensors"}}
    workflow = {"nodes": [lora, sampler, {"type": "Note"}], "definitions": {"subgraphs": [{"nodes": [vae]}]}}
    before = copy.deepcopy(workflow)
    linked = add_model_links(workflow)
    assert workflow == before
    assert linked["nodes"] == [{**lora, "properties": {"models": [LORA]}}, sampler, {"type": "Note"}]
    assert linked["definitions"]["subgraphs"][0]["nodes"][0]["properties"]["models"] == [VAE]
    assert add_model_links(linked) == linked


def test_stale_links_go_and_foreign_ones_stay() -> None:
    foreign = {"name": "mine.safetensors", "url": "https://example.org/mine.safetensors", "directory": "loras"}
    stale = {**LORA, "url": "https://example.org/old.safetensors"}
    node = {
        "widgets_values": ["rgb_normal.safetensors", "mine.safetensors"],
        "properties": {"models": [stale, foreign]},
    }
    assert add_model_links({"nodes": [node]})["nodes"][0]["properties"]["models"] == [LORA, foreign]
    unused = {"widgets_values": [], "properties": {"models": [stale]}}
    assert add_model_links({"nodes": [unused]})["nodes"][0]["properties"] == {}


@pytest.mark.parametrize(
    ("loader", "folder"),
    [("UNETLoader", "diffusion_models"), ("CheckpointLoaderSimple", "checkpoints"), ("Another", "checkpoints")],
)
def test_a_name_that_two_files_have_goes_to_the_folder_of_the_loader(loader: str, folder: str) -> None:
    node = {"type": loader, "widgets_values": ["flux1-dev-fp8.safetensors"]}
    (link,) = add_model_links({"nodes": [node]})["nodes"][0]["properties"]["models"]
    assert link["directory"] == folder
