"""Links to model files in workflows, from which ComfyUI's frontend offers the download of what is missing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from .registry import CHECKPOINTS, Checkpoint


def add_model_links(workflow: dict[str, Any], checkpoints: Sequence[Checkpoint] = CHECKPOINTS) -> dict[str, Any]:
    """A copy of a saved workflow in which every node that names a known file has its link.

    The links of a node are its ``properties.models``; those of a file that is not of the registry are kept.
    """
    linked = copy.deepcopy(workflow)
    single = {checkpoint.files[0].name: checkpoint for checkpoint in checkpoints if not checkpoint.directory}
    for node in _nodes(linked):
        names = [str(value).replace("\\", "/").rsplit("/", 1)[-1] for value in _values(node)]
        links = [single[name].link() for name in dict.fromkeys(names) if name in single]
        given = (node.get("properties") or {}).get("models", [])
        links += [link for link in given if link["name"] not in single]
        if links:
            node.setdefault("properties", {})["models"] = links
        elif given:
            del node["properties"]["models"]
    return linked


def _nodes(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes of a workflow and of the subgraphs in it."""
    yield from workflow.get("nodes", [])
    for subgraph in (workflow.get("definitions") or {}).get("subgraphs", []):
        yield from subgraph.get("nodes", [])


def _values(node: dict[str, Any]) -> list[Any]:
    """The values of a node's widgets, which ComfyUI stores as a list or by name."""
    values = node.get("widgets_values") or []
    return list(values.values()) if isinstance(values, dict) else list(values)
