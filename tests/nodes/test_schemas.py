"""Saved workflows keep working: sockets are only ever added at the end."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from .schemas import FILE, changes, sockets

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
# A name of its own; as many pictures as the workflow shows; what to draw, and how much of it; a texture; what to change
# of a mesh; how many views there are, and how fine their object.
ON_PURPOSE = {"filename_prefix", "frames", "text", "strength", "texture", "outlines"}
ON_PURPOSE |= {"preset", "keep_shape", "keep_look", "shading", "light", "texture_scale", "mask_file", "border"}
ON_PURPOSE |= {"several_views", "faces"}


def test_sockets_are_only_added_at_the_end(nodes: dict[str, Any]) -> None:
    stored, current = json.loads(FILE.read_text("utf-8")), json.loads(json.dumps(sockets(nodes)))
    assert changes(stored, current) == []
    assert stored == current, "run `.venv/bin/python -m bundle3d.tests.nodes.schemas` to add the new sockets"


def test_a_changed_default_and_a_socket_in_between_are_found() -> None:
    stored = json.loads(FILE.read_text("utf-8"))
    changed = copy.deepcopy(stored)
    changed["Bundle3D_Turntable"]["inputs"].insert(0, {"id": "new", "type": "INT"})
    seed = changed["Bundle3D_IsomerReconstruct"]["inputs"][-2]
    seed["default"] = 7
    found = changes(stored, changed)
    assert any(line.startswith("Bundle3D_Turntable.inputs[0]") for line in found)
    assert any("'id': 'seed'" in line for line in found)
    added = copy.deepcopy(stored)
    added["Bundle3D_Turntable"]["inputs"].append({"id": "new", "type": "INT"})
    assert changes(stored, added) == []


def test_workflows_store_the_defaults() -> None:
    stored = json.loads(FILE.read_text("utf-8"))
    for file in WORKFLOWS.glob("*.json"):
        for node in json.loads(file.read_text("utf-8")).values():
            for socket in stored.get(node["class_type"], {}).get("inputs", []):
                linked = isinstance(node["inputs"].get(socket["id"]), list)
                if "default" in socket and not linked and socket["id"] not in ON_PURPOSE:
                    assert node["inputs"][socket["id"]] == socket["default"], f"{file.name}: {socket['id']}"
