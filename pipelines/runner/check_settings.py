"""Refuses settings that cannot work before a ComfyUI is started for them."""

from __future__ import annotations

import codecs
import functools
import json
from pathlib import Path
from typing import Any

from ..comfyui_folder import PACK
from ..errors import Bundle3DError
from .client import ApiGraph
from .convert import to_api
from .graph import NodeInfo, find_input, is_ui_graph, title_of, with_titles

EXAMPLES = PACK / "workflows" / "inputs"
PICTURE_INPUTS = {("LoadImage", "image"), ("LoadImageMask", "image"), ("Bundle3D_LoadPhoto", "image")}
FILE_INPUTS = PICTURE_INPUTS | {("Load3D", "model_file"), ("Bundle3D_LoadMesh", "model_file")}
WEIGHT_SUFFIXES = {".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}


def check_settings(source: dict[str, Any], settings: dict[str, str]) -> None:
    """Raises Bundle3DError where a setting names no node, an input that its node lacks, or a file that is not there.

    source: a graph of either format. settings: ``Node title.input`` -> text. For a ComfyUI that is started for the
    call: its input folder holds the examples of this pack alone. What only its node definitions tell is let pass.
    """
    own = own_nodes()
    graph = with_titles(to_api(source, own) if is_ui_graph(source) else source, own)
    for node in graph.values():
        node.setdefault("_meta", {}).setdefault("title", node["class_type"])
    for address, text in settings.items():
        if is_open(graph, own, address):
            continue
        node_id, name = find_input(graph, {**names_in(graph, address), **own}, address)
        kind = graph[node_id]["class_type"]
        if (kind, name.lower()) in FILE_INPUTS and not Path(text).is_file() and not (EXAMPLES / text).is_file():
            raise missing_file(address, text)
        refuse_text(kind, name, address, Path(text))


def refuse_text(kind: str, name: str, address: str, path: Path) -> None:
    """Raises Bundle3DError where a text file is given as a picture: a page saved under a picture's name, say.

    kind, name: node type and input. path: need not exist.
    """
    if (kind, name.lower()) not in PICTURE_INPUTS or not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(1024)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return
    if start and b"\0" not in start:
        raise Bundle3DError(f"{address} should name a picture, but {path} holds text; name another file.")


def missing_weights(address: str, text: str, offered: list[Any]) -> Bundle3DError:
    """What to say of a model file that ComfyUI does not find in its models folders."""
    return Bundle3DError(
        f"{address} should name a file in ComfyUI's models folders, where there is no {text}, only "
        f"{', '.join(map(repr, offered)) or 'nothing'}; `bundle3d models` says where to put it."
    )


def missing_file(address: str, text: str) -> Bundle3DError:
    """What to say of a picture or mesh that is nowhere."""
    return Bundle3DError(
        f"{address} should name a file, but {text} is neither a local file nor in ComfyUI's input folder; "
        "check the path."
    )


@functools.cache
def own_nodes() -> dict[str, NodeInfo]:
    """The titles and input names of this pack's nodes in the form of /object_info, inputs without types."""
    texts = json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    return {
        kind: {"display_name": node["display_name"], "input": {"required": {name: ["*"] for name in node["inputs"]}}}
        for kind, node in texts.items()
    }


def is_open(graph: ApiGraph, own: dict[str, NodeInfo], address: str) -> bool:
    """Whether the address may mean a node whose title only ComfyUI knows, because the graph holds none for it."""
    starts = [title_of(graph, key) for key in graph] + list(graph)
    if any(address.lower().startswith(f"{start.lower()}.") for start in starts):
        return False
    return any(
        node["class_type"] not in own and node["_meta"]["title"] == node["class_type"] for node in graph.values()
    )


def names_in(graph: ApiGraph, address: str) -> dict[str, NodeInfo]:
    """Definitions that have every input that the address could mean, for nodes whose inputs only ComfyUI knows."""
    parts = address.split(".")
    names = {".".join(parts[start:]).strip(): ["*"] for start in range(1, len(parts))}
    return {node["class_type"]: {"input": {"required": names}} for node in graph.values()}
