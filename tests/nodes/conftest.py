"""Nodes without a server: ComfyUI's modules on the path, folders of its own, and the executor's way to run nodes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
COMFYUI = Path(os.environ.get("COMFYUI_PATH", ROOT / ".comfyui"))

if not (COMFYUI / "main.py").exists():
    pytest.skip("ComfyUI is not there; `make test` fetches it, or set COMFYUI_PATH", allow_module_level=True)
sys.path.append(str(COMFYUI))

from comfy.cli_args import args  # noqa: E402

args.cpu = not torch.cuda.is_available()  # read when comfy.model_management is imported


@pytest.fixture(scope="session")
def extension() -> Any:
    """The extension as ComfyUI gets it."""
    import bundle3d

    return asyncio.run(bundle3d.comfy_entrypoint())


@pytest.fixture(scope="session")
def nodes(extension: Any) -> dict[str, Any]:
    """All node classes by id."""
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """A folder with ComfyUI's input, output and temp folders in it."""
    import folder_paths

    before = folder_paths.get_input_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory()
    setters = (folder_paths.set_input_directory, folder_paths.set_output_directory, folder_paths.set_temp_directory)
    for setter, name in zip(setters, ("input", "output", "temp")):
        (tmp_path / name).mkdir()
        setter(str(tmp_path / name))
    yield tmp_path
    for setter, folder in zip(setters, before):
        setter(folder)


@pytest.fixture
def run(nodes: dict[str, Any], folders: Path) -> Callable[..., Any]:
    """``run("Bundle3D_SplitBundle", bundle=image)``: the node's output, with defaults for all that is not given."""

    def call(node_id: str, **inputs: Any) -> Any:
        node = nodes[node_id]
        for widget in node.GET_SCHEMA().inputs:
            if not widget.optional and widget.id not in inputs:
                options = getattr(widget, "options", None)
                inputs[widget.id] = widget.default if widget.default is not None else options and options[0]
        with torch.inference_mode():
            return node.PREPARE_CLASS_CLONE({"hidden_inputs": {}}).EXECUTE_NORMALIZED(**inputs)

    return call


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that is quick with 16-bit numbers of both kinds."""
    import comfy.model_management as model_management

    monkeypatch.setattr(model_management, "should_use_fp16", lambda *arguments, **options: True)
    monkeypatch.setattr(model_management, "should_use_bf16", lambda *arguments, **options: True)


class Cancelled(BaseException):
    """What ComfyUI raises where a user cancels, as seen from outside."""


@pytest.fixture
def cancels_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``cancels_at(4, work)``: the user cancels when ``work`` asks for the fourth time, and it never asks again."""
    import comfy.model_management

    def check(count: int, work: Callable[[], Any]) -> None:
        calls = []

        def interrupt() -> None:
            calls.append(1)
            if len(calls) == count:
                raise Cancelled

        monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupt)
        with pytest.raises(Cancelled):
            work()
        assert len(calls) == count

    return check


@pytest.fixture
def tiny_folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder that ComfyUI looks into for every kind, with a random FLUX pipeline in ``diffusers/tiny``."""
    import folder_paths
    from bundle3d.tests.support.tiny_flux import tiny_pipeline

    root = folders / "models"
    tiny_pipeline().save_pretrained(root / "diffusers" / "tiny")
    known = {kind: ([str(root / kind)], found[1]) for kind, found in folder_paths.folder_names_and_paths.items()}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "models_dir", str(root))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return root
