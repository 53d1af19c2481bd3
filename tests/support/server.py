"""The real ComfyUI with this pack in it, started once for all tests of a worker."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.run import run_workflow
from bundle3d.pipelines.runner.server import ComfyServer

TINY_PIXAL3D = "TinyPixal3D"  # a folder of random weights


def missing(reason: str) -> None:
    """Skips a test on a developer's machine; fails it in CI, where everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    """A running ComfyUI with only this pack, on a random port and with folders of its own.

    Among its diffusers pipelines is ``tiny``: FLUX with small random weights, and among its Pixal3D folders
    ``TINY_PIXAL3D``, beside the tiny Pixal3D-D.
    """
    try:
        folder = find_comfyui()
    except Bundle3DError as error:
        missing(str(error))
    # these take seconds, which other tests need not wait for
    from bundle3d.tests.support.tiny_flux import tiny_pipeline
    from bundle3d.tests.support.tiny_pixal3d import save_tiny_pixal3d
    from bundle3d.tests.support.tiny_pixal3d_d import save_tiny_pixal3d_d

    diffusers = tmp_path_factory.mktemp("diffusers")
    tiny_pipeline().save_pretrained(diffusers / "tiny")
    models = tmp_path_factory.mktemp("bundle3d")
    save_tiny_pixal3d(models / TINY_PIXAL3D)
    save_tiny_pixal3d_d(models)
    paths = tmp_path_factory.mktemp("paths") / "more_paths.yaml"
    paths.write_text(json.dumps({"tests": {"bundle3d": str(models)}}), encoding="utf-8")
    arguments = ["--extra-model-paths-config", str(paths)]
    with ComfyServer(folder, only_this_pack=True, diffusers=diffusers, arguments=arguments) as server:
        yield server


@dataclass(frozen=True)
class Finished:
    """What a graph gave: its result.json and the folder with its files."""

    result: dict[str, Any]
    folder: Path

    def files(self, suffix: str) -> list[Path]:
        """The output files with this suffix, in the order of the result."""
        return [self.folder / row["file"] for row in self.result["files"] if row["file"].endswith(suffix)]


RunGraph = Callable[..., Finished]


@pytest.fixture
def run_graph(comfyui: ComfyServer, tmp_path: Path) -> RunGraph:
    """``run_graph(workflow, {"Node title.input": value})`` runs a workflow file or an API graph on the server."""

    def run(workflow: Path | dict[str, Any], settings: dict[str, Any] | None = None) -> Finished:
        out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        if isinstance(workflow, dict):
            file = tmp_path / f"{out.name}.json"
            file.write_text(json.dumps(workflow), encoding="utf-8")
            workflow = file
        texts = {address: str(value) for address, value in (settings or {}).items()}
        # In a thread, because playwright keeps an event loop running in the main one.
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(
                lambda: asyncio.run(run_workflow(workflow, texts, out, comfyui.url, alive=comfyui.alive))
            )
            return Finished(work.result(), out)

    return run
