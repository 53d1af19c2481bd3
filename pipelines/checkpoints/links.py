"""Links to model files in workflows, from which ComfyUI's frontend offers the download of what is missing."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from .registry import CHECKPOINTS, Checkpoint

# Where ComfyUI's loaders look, for names that files of two kinds have.
FOLDERS = {"CheckpointLoaderSimple": "checkpoints", "UNETLoader": "diffusion_models"}


def add_model_links(workflow: dict[str, Any], checkpoints: Sequence[Checkpoint] = CHECKPOINTS) -> dict[str, Any]:
    """A copy of a saved workflow in which every node that names a known file has its link.

    The links of a node are its ``properties.models``; those of a file that is not of the registry are kept.
    """
    linked = copy.deepcopy(workflow)
    single = [checkpoint for checkpoint in checkpoints if not checkpoint.directory]
    known = {checkpoint.files[0].name for checkpoint in single}
    for node in _nodes(linked):
        folder = FOLDERS.get(node.get("type", ""))
        fitting = {c.files[0].name: c for c in reversed(single) if folder in (None, c.folder)}
        names = [str(value).replace("\\", "/").rsplit("/", 1)[-1] for value in _values(node)]
        links = [fitting[name].link() for name in dict.fromkeys(names) if name in fitting]
        given = (node.get("properties") or {}).get("models", [])
        links += [link for link in given if link["name"] not in known]
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
