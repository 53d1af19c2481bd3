"""Files among the settings: what is uploaded, and what is refused with a word on what to do instead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.client import ComfyClient
from bundle3d.pipelines.runner.run import prepare

INFO = {
    "LoadImage": {"input": {"required": {"image": [["example.png"], {"image_upload": True}]}}},
    "Loader": {"input": {"required": {"base": ["COMBO", {"options": ["demo", "flux.safetensors"]}]}}},
}
GRAPH = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}, "_meta": {"title": "Photo"}},
    "2": {"class_type": "Loader", "inputs": {"base": "demo"}, "_meta": {"title": "Load models"}},
}


class Uploads(ComfyClient):
    """Takes uploads without a server."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.paths: list[Path] = []

    async def upload(self, path: Path) -> str:
        self.paths.append(path)
        return f"uploaded/{path.name}"


def prepared(settings: dict[str, str], client: ComfyClient) -> dict[str, Any]:
    return asyncio.run(prepare(client, GRAPH, settings, INFO)).graph


def test_a_picture_is_uploaded(tmp_path: Path) -> None:
    picture, client = tmp_path / "chair.png", Uploads()
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    graph = prepared({"Photo.image": str(picture)}, client)
    assert graph["1"]["inputs"]["image"] == "uploaded/chair.png"
    assert client.paths == [picture]


def test_weights_that_comfyui_offers_are_chosen() -> None:
    graph = prepared({"Load models.base": "FLUX.safetensors"}, Uploads())
    assert graph["2"]["inputs"]["base"] == "flux.safetensors"


def test_weights_elsewhere_are_refused_not_uploaded(tmp_path: Path) -> None:
    """They belong into the models folders; ComfyUI's input folder would take gigabytes that no loader sees."""
    weights, client = tmp_path / "other.safetensors", Uploads()
    weights.write_bytes(b"weights")
    for name in ("other.safetensors", str(weights)):
        with pytest.raises(Bundle3DError, match=r"only 'demo', 'flux.safetensors'; `bundle3d models` says where"):
            prepared({"Load models.base": name}, client)
    assert not client.paths


def test_a_text_file_is_refused_as_a_picture(tmp_path: Path) -> None:
    page, client = tmp_path / "saved.png", Uploads()
    page.write_text("<!DOCTYPE html>\n<p>Zutritt verwehrt für Gäste", encoding="utf-8")
    with pytest.raises(Bundle3DError, match=r"Photo.image should name a picture, but .*saved.png holds text"):
        prepared({"Photo.image": str(page)}, client)
    assert not client.paths
