"""Reading graph files and addressing inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.graph import (
    choices,
    find_input,
    input_options,
    is_api_graph,
    is_ui_graph,
    parse_value,
    prefix_outputs,
    read_graph,
    seeds,
    set_input,
    with_titles,
)

INFO: dict[str, Any] = {
    "Make": {
        "display_name": "Make it",
        "input": {
            "required": {"size": ["INT", {"default": 3}], "seed": ["INT", {}], "mode": [["fast", "Good"], {}]},
            "optional": {"image": ["IMAGE", {}]},
        },
    },
    "Choose": {
        "display_name": "Choose",
        "input": {
            "required": {
                "way": ["COMFY_DYNAMICCOMBO_V3", {"options": [
                    {"key": "a", "inputs": {"required": {"count": ["INT", {}]}}},
                    {"key": "b", "inputs": {"required": {"name": ["STRING", {}]}}},
                ]}],
                "images": ["COMFY_AUTOGROW_V3", {"template": {"input": {"required": {"image": ["IMAGE", {}]}}}}],
            }
        },
    },
}  # fmt: skip


def graph() -> dict[str, Any]:
    return with_titles(
        {
            "1": {"class_type": "Make", "inputs": {"size": 3, "seed": 7}, "_meta": {"title": "Fig. 2 maker"}},
            "2": {"class_type": "Make", "inputs": {"size": 3}},
            "3": {"class_type": "Choose", "inputs": {"way": "b", "way.name": "x", "images.image0": ["1", 0]}},
        },
        INFO,
    )  # fmt: skip


def test_titles_come_from_the_definition_where_the_graph_has_none() -> None:
    assert [node["_meta"]["title"] for node in graph().values()] == ["Fig. 2 maker", "Make it", "Choose"]


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("Fig. 2 maker.size", ("1", "size")),
        ("FIG. 2 MAKER.Size", ("1", "size")),
        ("2.mode", ("2", "mode")),
        ("Choose.way.name", ("3", "way.name")),
        ("Make it.image", ("2", "image")),
    ],
)
def test_an_input_is_found_by_title_or_id(address: str, found: tuple[str, str]) -> None:
    assert find_input(graph(), INFO, address) == found


def test_two_nodes_of_one_title_are_told_apart_by_id() -> None:
    both = graph()
    both["1"]["_meta"]["title"] = "Make it"
    with pytest.raises(Bundle3DError, match="2 nodes have the title 'Make it'; name one by its id: 1, 2"):
        find_input(both, INFO, "Make it.size")


def test_dynamic_inputs_follow_their_choice() -> None:
    known = input_options(INFO["Choose"], {"way": "a", "images.image0": 1, "images.image1": 1})
    assert list(known) == ["way", "way.count", "images.image0", "images.image1"]
    assert known["images.image1"][0] == "IMAGE"
    assert choices(*known["way"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12", "INT", 12), ("1.5", "FLOAT", 1.5), ("yes", "BOOLEAN", True), ("False", "BOOLEAN", False),
        ("GOOD", ["fast", "Good"], "Good"), ("2", [1, 2], 2), ("12", "STRING", "12"), ("x", "STRING,FILE_3D", "x"),
        ("[1, 2]", "ARRAY", [1, 2]), ("new.png", ["old.png"], "new.png"),
    ],
)  # fmt: skip
def test_texts_become_values(text: str, kind: Any, value: Any) -> None:
    assert parse_value(text, kind, {}, "N.x") == value


@pytest.mark.parametrize(("text", "kind"), [("1.5", "INT"), ("much", "FLOAT"), ("perhaps", "BOOLEAN")])
def test_wrong_texts_are_refused(text: str, kind: str) -> None:
    with pytest.raises(Bundle3DError, match=f"N.x should be of type {kind}"):
        parse_value(text, kind, {}, "N.x")


def test_lists_are_marked_as_values() -> None:
    changed = graph()
    set_input(changed, "1", "size", [1, 2])
    assert changed["1"]["inputs"]["size"] == {"__value__": [1, 2]}


def test_seeds_are_reported_by_title() -> None:
    assert seeds(graph()) == {"Fig. 2 maker.seed": 7}


def test_only_literal_prefixes_are_changed() -> None:
    changed: dict[str, Any] = {
        "1": {"inputs": {"filename_prefix": "3d/x"}},
        "2": {"inputs": {"filename_prefix": ["1", 0]}},
    }
    prefix_outputs(changed, "run")
    assert [node["inputs"]["filename_prefix"] for node in changed.values()] == ["run/3d/x", ["1", 0]]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"nodes": 3}', "\xff", '{"1": {"inputs": {}}}'])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "graph.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(Bundle3DError, match=r"graph\.json") as refusal:
        read_graph(file)
    assert "\n" not in str(refusal.value)


def test_formats_are_told_apart() -> None:
    assert is_api_graph(graph()) and not is_ui_graph(graph())
    assert is_ui_graph({"nodes": [], "links": []}) and not is_api_graph({"nodes": [], "links": []})
