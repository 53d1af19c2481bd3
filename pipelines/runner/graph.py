"""Reads graph files and addresses the inputs of their nodes by title."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from ..errors import Bundle3DError
from .client import ApiGraph

NodeInfo = dict[str, Any]  # one node's entry in /object_info


def read_graph(path: Path) -> dict[str, Any]:
    """The JSON object in a workflow file, of either format."""
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Bundle3DError(f"The workflow file {path} does not exist; check the name.") from error
    except (OSError, ValueError) as error:
        raise Bundle3DError(f"{path} should hold a workflow as JSON, but it cannot be read: {error}") from error
    if not is_ui_graph(graph) and not is_api_graph(graph):
        raise Bundle3DError(
            f"{path} holds JSON but no ComfyUI workflow; save it from ComfyUI with Save or Export (API)."
        )
    return dict(graph)


def is_ui_graph(graph: Any) -> bool:
    """Whether this is what ComfyUI's Save writes."""
    return isinstance(graph, dict) and isinstance(graph.get("nodes"), list) and isinstance(graph.get("links"), list)


def is_api_graph(graph: Any) -> bool:
    """Whether this is what ComfyUI's Export (API) writes."""
    return (
        isinstance(graph, dict)
        and bool(graph)
        and all(isinstance(node, dict) and isinstance(node.get("class_type"), str) for node in graph.values())
    )


def with_titles(graph: ApiGraph, info: dict[str, NodeInfo]) -> ApiGraph:
    """A copy in which every node has its inputs and a title; some ComfyUI versions fail on nodes without ``_meta``."""
    graph = copy.deepcopy(graph)
    for node in graph.values():
        kind = node["class_type"]
        if kind not in info:
            continue
        node.setdefault("inputs", {})
        node.setdefault("_meta", {}).setdefault("title", info[kind].get("display_name") or kind)
    return graph


def missing_node_types(graph: ApiGraph, info: dict[str, NodeInfo]) -> list[str]:
    """The node types of the graph that the server does not know."""
    return sorted({node["class_type"] for node in graph.values()} - set(info))


def title_of(graph: ApiGraph, node_id: str) -> str:
    """The title that a person sees on a node; a part of an expanded node has its parent's title."""
    node = graph.get(node_id) or graph.get(node_id.split(".")[0])
    return str(node["_meta"]["title"]) if node else node_id


def find_input(graph: ApiGraph, info: dict[str, NodeInfo], address: str) -> tuple[str, str]:
    """The (node id, input name) that ``Node title.input`` names; the node may also be named by its id.

    Titles and input names may contain dots, so every way to split is tried. Upper and lower case are the same.
    """
    parts = address.split(".")
    nodes: list[str] = []
    for cut in range(len(parts) - 1, 0, -1):
        title, name = ".".join(parts[:cut]).strip().lower(), ".".join(parts[cut:]).strip().lower()
        nodes = [key for key in graph if key == title] or [
            key for key in graph if title_of(graph, key).lower() == title
        ]
        if len(nodes) > 1:
            raise Bundle3DError(
                f"{len(nodes)} nodes have the title {'.'.join(parts[:cut])!r}; name one by its id: {', '.join(nodes)}."
            )
        if nodes:
            known = input_options(info[graph[nodes[0]]["class_type"]], graph[nodes[0]]["inputs"])
            found = [key for key in known if key.lower() == name]
            if found:
                return nodes[0], found[0]
            raise Bundle3DError(
                f"The node {title_of(graph, nodes[0])!r} has no input {name!r}; its inputs are: {', '.join(known)}."
            )
    titles = sorted({title_of(graph, key) for key in graph})
    raise Bundle3DError(f"No node has the title in {address!r}; the titles are: {', '.join(titles)}.")


def input_options(info: NodeInfo, values: dict[str, Any]) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The inputs of a node type, name -> (type or list of choices, options), in their order.

    values: the inputs that are set, needed to know which choice of a dynamic combo is in force; its parts are named
    ``combo.part``, those of a growing list of inputs ``list.part0``.
    """
    found: dict[str, tuple[Any, dict[str, Any]]] = {}

    def add(prefix: str, groups: dict[str, Any]) -> None:
        for group in ("required", "optional"):
            for name, spec in (groups.get(group) or {}).items():
                kind = spec[0]
                options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
                full = prefix + name
                if kind == "COMFY_AUTOGROW_V3":
                    for key in values:
                        if key.startswith(f"{full}."):
                            found[key] = (autogrow_type(options), {})
                    continue
                found[full] = (kind, options)
                if kind == "COMFY_DYNAMICCOMBO_V3":
                    chosen = [option for option in options.get("options", []) if option["key"] == values.get(full)]
                    for option in chosen:
                        add(f"{full}.", option["inputs"])

    add("", info.get("input") or {})
    return found


def autogrow_type(options: dict[str, Any]) -> Any:
    """The type of the inputs of which an autogrow input makes a list."""
    template = (options.get("template") or {}).get("input") or {}
    specs = [spec for group in ("required", "optional") for spec in (template.get(group) or {}).values()]
    return specs[0][0] if specs else "*"


def choices(kind: Any, options: dict[str, Any]) -> list[Any] | None:
    """What a combo input offers; None for another input."""
    if isinstance(kind, list):
        return kind
    if kind == "COMBO":
        return list(options.get("options") or [])
    if kind == "COMFY_DYNAMICCOMBO_V3":
        return [option["key"] for option in options.get("options", [])]
    return None


def parse_value(text: str, kind: Any, options: dict[str, Any], address: str) -> Any:
    """The value of an input of this type that a text on the command line means."""
    offered = choices(kind, options)
    if offered is not None:
        same = [choice for choice in offered if str(choice) == text] or [
            choice for choice in offered if str(choice).lower() == text.lower()
        ]
        return same[0] if same else text
    try:
        if kind == "INT":
            return int(text)
        if kind == "FLOAT":
            return float(text)
        if kind == "BOOLEAN":
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
    except (ValueError, KeyError) as error:
        raise Bundle3DError(f"{address} should be of type {kind}, but {text!r} is given; correct the value.") from error
    if "STRING" in str(kind).split(",") or kind == "COLOR":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def set_input(graph: ApiGraph, node: str, name: str, value: Any) -> None:
    """Sets an input in place; a list is marked as a value, because ComfyUI would read it as a link."""
    graph[node]["inputs"][name] = {"__value__": value} if isinstance(value, list) else value


def seeds(graph: ApiGraph) -> dict[str, int]:
    """The seeds in the graph, ``Node title.input`` -> value."""
    return {
        f"{title_of(graph, key)}.{name}": value
        for key, node in graph.items()
        for name, value in node["inputs"].items()
        if name.split(".")[-1] in {"seed", "noise_seed"} and isinstance(value, int)
    }


def prefix_outputs(graph: ApiGraph, prefix: str) -> None:
    """Puts what the graph saves under ``prefix/``, in place, so that save nodes run again and runs do not mix."""
    for node in graph.values():
        name = node["inputs"].get("filename_prefix")
        if isinstance(name, str):
            node["inputs"]["filename_prefix"] = f"{prefix}/{name}"
