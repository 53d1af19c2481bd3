"""Conversion of saved graphs, one rule of the frontend per test; tests/browser holds it against the real frontend."""

from __future__ import annotations

from typing import Any

from bundle3d.pipelines.runner.convert import to_api

INFO: dict[str, Any] = {
    "Make": {
        "input": {"required": {"size": ["INT", {"default": 3}], "seed": ["INT", {"control_after_generate": True}]}}
    },
    "Pass": {"input": {"required": {"image": ["IMAGE", {}], "strength": ["FLOAT", {"default": 1.0}]}}},
    "Save": {"input": {"required": {"image": ["IMAGE", {}], "name": ["STRING", {"default": "out"}]}}},
    "Load": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}, "optional": {"gain": ["FLOAT", {}]}}
    },
}


def socket(name: str, kind: str, link: int | None, widget: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "type": kind, "link": link}
    return entry | ({"widget": {"name": name}} if widget else {})


def node(key: int, kind: str, inputs: list[Any], values: list[Any], mode: int = 0, outputs: int = 1) -> dict[str, Any]:
    made = [{"name": "IMAGE", "type": "IMAGE"}] * outputs
    return {"id": key, "type": kind, "mode": mode, "inputs": inputs, "outputs": made, "widgets_values": values}


def make(key: int = 1) -> dict[str, Any]:
    return node(
        key, "Make", [socket("size", "INT", None, True), socket("seed", "INT", None, True)], [5, 42, "randomize"]
    )


def save(link: int | None, key: int = 9) -> dict[str, Any]:
    return node(key, "Save", [socket("image", "IMAGE", link), socket("name", "STRING", None, True)], ["x"], outputs=0)


def passing(mode: int) -> dict[str, Any]:
    inputs = [socket("image", "IMAGE", 1), socket("strength", "FLOAT", None, True)]
    return node(2, "Pass", inputs, [0.5], mode)


def convert(nodes: list[Any], links: list[Any], **more: Any) -> dict[str, Any]:
    return to_api({"nodes": nodes, "links": links, **more}, INFO)


def test_values_and_links() -> None:
    api = convert([make(), save(1)], [[1, 1, 0, 9, 0, "IMAGE"]])
    assert api["1"]["inputs"] == {"size": 5, "seed": 42}
    assert api["9"]["inputs"] == {"image": ["1", 0], "name": "x"}
    assert api["9"]["_meta"]["title"] == "Save"


def test_a_bypassed_node_passes_its_input_on() -> None:
    api = convert([make(), passing(4), save(2)], [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 9, 0, "IMAGE"]])
    assert set(api) == {"1", "9"} and api["9"]["inputs"]["image"] == ["1", 0]


def test_a_muted_node_cuts_the_link() -> None:
    api = convert([make(), passing(2), save(2)], [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 9, 0, "IMAGE"]])
    assert set(api) == {"1", "9"} and "image" not in api["9"]["inputs"]


def test_a_primitive_gives_its_value() -> None:
    primitive = node(3, "PrimitiveNode", [], ["name from afar", "fixed"])
    target = save(1)
    target["inputs"][1]["link"] = 2
    api = convert([make(), primitive, target], [[1, 1, 0, 9, 0, "IMAGE"], [2, 3, 0, 9, 1, "STRING"]])
    assert api["9"]["inputs"]["name"] == "name from afar"


def test_old_files_without_widget_names() -> None:
    old = node(1, "Make", [], [5, 42, "fixed"])
    load = node(2, "Load", [], ["b.png", "image", 0.25])
    api = convert([old, load], [])
    assert api["1"]["inputs"] == {"size": 5, "seed": 42}
    assert api["2"]["inputs"] == {"image": "b.png", "gain": 0.25}


def test_inputs_newer_than_the_file_get_their_default() -> None:
    api = convert([node(2, "Pass", [socket("image", "IMAGE", None)], [])], [])
    assert api["2"]["inputs"] == {"strength": 1.0}


SUBGRAPH = {
    "id": "uuid-1",
    "nodes": [make(1), passing(0)],
    "links": [
        {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IMAGE"},
        {"id": 2, "origin_id": 2, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        {"id": 3, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "INT"},
    ],
    "inputs": [{"name": "how_big", "linkIds": [3]}],
    "outputs": [{"name": "IMAGE", "linkIds": [2]}],
}


def with_subgraph(values: list[Any], mode: int = 0) -> dict[str, Any]:
    inner = {**SUBGRAPH, "nodes": [make(1), passing(0)]}
    inner["nodes"][0]["inputs"][0]["link"] = 3
    instance = node(4, "uuid-1", [socket("how_big", "INT", None, True)], values, mode)
    return convert([instance, save(1)], [[1, 4, 0, 9, 0, "IMAGE"]], definitions={"subgraphs": [inner]})


def test_a_subgraph_is_expanded() -> None:
    api = with_subgraph([11])
    assert set(api) == {"4:1", "4:2", "9"}
    assert api["9"]["inputs"]["image"] == ["4:2", 0]
    assert api["4:2"]["inputs"]["image"] == ["4:1", 0]


def test_a_subgraph_shows_widgets_of_its_nodes() -> None:
    assert with_subgraph([11])["4:1"]["inputs"]["size"] == 11
    assert with_subgraph([])["4:1"]["inputs"]["size"] == 5


def test_a_muted_subgraph_is_left_out() -> None:
    api = with_subgraph([11], mode=2)
    assert set(api) == {"9"} and "image" not in api["9"]["inputs"]
