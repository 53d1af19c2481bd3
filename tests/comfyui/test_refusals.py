"""Broken files, wrong bundles and escaping paths in a running ComfyUI: each refused in a sentence, nothing written."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.malformed.cases import cases
from bundle3d.tests.malformed.whole_files import Case

from .test_nodes import get, submit

SAMPLE = 16
READABLE = (".glb", ".gltf", ".obj", ".ply", ".stl")
SENTENCE = re.compile(r"Expected [^\n]{10,400}[;,] [^\n]+\.")
BUNDLE_SIZES = [(100, 70), (2048, 1000), (7, 3)]
ESCAPES = ["../escaped", "/tmp/escaped", "3d/../../escaped", "..\\escaped"]
ROCKET = "3d/bundle3d_rocket.glb"


def sample() -> list[Case]:
    """The first case of each kind of damage, spread over the formats."""
    first = {case.file: case for case in reversed(cases()) if case.file.endswith(READABLE)}
    kinds = [first[name] for name in sorted(first)]
    return [kinds[index * len(kinds) // SAMPLE] for index in range(SAMPLE)]


def mesh_graph(model_file: str, prefix: str) -> dict[str, Any]:
    save = {"mesh": ["1", 0], "file_format": "glb", "filename_prefix": prefix}
    return {
        "1": {"class_type": "Bundle3D_LoadMesh", "inputs": {"model_file": model_file}},
        "2": {"class_type": "Bundle3D_SaveMesh", "inputs": save},
    }


def bundle_graph(width: int, height: int) -> dict[str, Any]:
    size = {"width": width, "height": height, "batch_size": 1, "color": 7}
    rig = {"rig": "kiss3dgen", "orbit_views": 6, "orbit_elevation": 5.0, "orbit_distance": 4.5, "orbit_fov": 30.0}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "Bundle3D_SplitBundle", "inputs": {"bundle": ["1", 0], **rig, "soft_mask": True}},
        "3": {"class_type": "Bundle3D_InspectBundle", "inputs": {"views": ["2", 0]}},
    }


def outcome(server: ComfyServer, graph: dict[str, Any]) -> tuple[str, str]:
    """Status of the finished job, and the message of the node that failed."""
    status, answer = submit(server, graph)
    assert status == 200, answer
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        entry = json.loads(get(server, f"/history/{answer['prompt_id']}")).get(answer["prompt_id"])
        if entry:
            failures = [data for kind, data in entry["status"]["messages"] if kind == "execution_error"]
            return entry["status"]["status_str"], "".join(data["exception_message"].strip() for data in failures)
        time.sleep(0.03)
    raise AssertionError("the job does not end")


def written(server: ComfyServer) -> set[Path]:
    """Every file in the server's home but its own log and what tests put in."""
    return {path for path in server.home.rglob("*") if path.is_file() and server.input_folder not in path.parents}


def assert_refused(server: ComfyServer, graph: dict[str, Any], what: str) -> None:
    before = written(server)
    status, message = outcome(server, graph)
    assert status == "error" and SENTENCE.fullmatch(message), f"{what}: {status} {message}"
    assert written(server) == before, what


@pytest.fixture(scope="module", autouse=True)
def works_before_and_after(comfyui: ComfyServer) -> Any:
    assert outcome(comfyui, mesh_graph(ROCKET, "before"))[0] == "success"
    yield
    assert outcome(comfyui, mesh_graph(ROCKET, "after"))[0] == "success"
    assert list((comfyui.home / "output").glob("after*.glb"))


def test_malformed_files_are_refused(comfyui: ComfyServer) -> None:
    for number, case in enumerate(sample()):
        folder = comfyui.input_folder / "3d" / f"malformed{number}"
        folder.mkdir(parents=True)
        for name, data in {case.file: case.data, **case.beside}.items():
            (folder / name).write_bytes(data)
        assert_refused(comfyui, mesh_graph(f"3d/{folder.name}/{case.file}", "malformed"), case.name)


@pytest.mark.parametrize(("width", "height"), BUNDLE_SIZES)
def test_bundles_of_a_wrong_size_are_refused(comfyui: ComfyServer, width: int, height: int) -> None:
    assert_refused(comfyui, bundle_graph(width, height), f"{width} x {height}")


@pytest.mark.parametrize("prefix", ESCAPES)
def test_nothing_is_saved_outside_of_the_output_folder(comfyui: ComfyServer, prefix: str) -> None:
    assert_refused(comfyui, mesh_graph(ROCKET, prefix), prefix)
    assert not list(comfyui.home.parent.glob("escaped*"))


def test_nothing_is_read_outside_of_the_input_folder(comfyui: ComfyServer) -> None:
    (comfyui.home / "secret.glb").write_bytes((comfyui.input_folder / ROCKET).read_bytes())
    status, answer = submit(comfyui, mesh_graph("3d/../../secret.glb", "read"))
    assert status == 400 and "Expected" in answer["node_errors"]["1"]["errors"][0]["details"]
