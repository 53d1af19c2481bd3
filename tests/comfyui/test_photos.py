"""Photos in a running ComfyUI: every kind of file becomes a framed object or is refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.photo.image_files import BACKGROUND, OBJECT, mask, rgba, scene, write_png16
from PIL import Image

from .test_nodes import get, submit
from .test_refusals import outcome

SCHEMAS = Path(__file__).resolve().parents[1] / "nodes" / "schemas.json"


def node(name: str, **inputs: Any) -> dict[str, Any]:
    """A node with the stored defaults of its widgets."""
    sockets = json.loads(SCHEMAS.read_text("utf-8")).get(name, {"inputs": []})["inputs"]
    return {"class_type": name, "inputs": {s["id"]: s["default"] for s in sockets if "default" in s} | inputs}


def graph(file: str, prefix: str, loader: str = "Bundle3D_LoadPhoto", **settings: Any) -> dict[str, Any]:
    return {
        "1": node(loader, image=file),
        "2": node("Bundle3D_PreparePhoto", image=["1", 0], mask=["1", 1], size=64, **settings),
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
        "4": node("Bundle3D_CaptionPhoto", image=["2", 0], text="a red box"),
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["4", 0]}},
    }


def sixteen_bits(path: Path) -> None:
    write_png16(path, np.dstack([scene(), mask()]).astype(np.uint16) * 257)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(scene()).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)


def palette(path: Path) -> None:
    image = Image.fromarray((mask() > 0).astype(np.uint8)).convert("P")
    image.putpalette([*BACKGROUND, *OBJECT])
    image.save(path, transparency=bytes([0, 255]))


def animated(path: Path) -> None:
    Image.fromarray(scene()).save(path, save_all=True, append_images=[rgba()], lossless=True)


FILES: dict[str, Callable[[Path], None]] = {
    "alpha.png": lambda path: rgba().save(path),
    "deep.png": sixteen_bits,
    "print.jpg": lambda path: Image.fromarray(scene()).convert("CMYK").save(path, quality=95),
    "turned.jpg": turned,
    "palette.png": palette,
    "moving.webp": animated,
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_becomes_a_framed_object(comfyui: ComfyServer, name: str) -> None:
    FILES[name](comfyui.input_folder / name)
    prefix = f"photo_{name.replace('.', '_')}"
    assert outcome(comfyui, graph(name, prefix)) == ("success", "")
    (file,) = (comfyui.home / "output").glob(f"{prefix}_*.png")
    with Image.open(file) as framed:
        pixels = np.asarray(framed.convert("RGB")).astype(int)
    assert pixels.shape == (64, 64, 3)
    assert np.abs(pixels[32, 32] - OBJECT).max() < 12 and pixels[:3].min() > 240
    assert 48 < (np.abs(pixels - OBJECT).max(axis=-1) < 60)[32].sum() < 58, "0.85 of 64, blurred at its rim in JPEG"


def test_the_mask_of_load_image_is_inverted(comfyui: ComfyServer) -> None:
    FILES["alpha.png"](comfyui.input_folder / "core.png")
    assert outcome(comfyui, graph("core.png", "photo_core", "LoadImage", invert_mask=True)) == ("success", "")


@pytest.mark.parametrize("name", ["dot.png", "half.png", "scene.png", "clear.png"])
def test_what_cannot_be_used_is_refused_in_a_sentence(comfyui: ComfyServer, name: str) -> None:
    path = comfyui.input_folder / name
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 4), dtype=np.uint8)
    pictures = {"dot.png": noise[:1, :1, :3], "clear.png": noise * np.array([1, 1, 1, 0], dtype=np.uint8)}
    Image.fromarray(pictures.get(name, noise[..., :3])).save(path)
    if name == "half.png":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    status, message = outcome(comfyui, graph(name, "refused"))
    assert status == "error" and message.startswith("Expected ") and message.endswith("."), message
    assert "\n" not in message and not list((comfyui.home / "output").glob("refused*"))


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "nothing.png", ""])
def test_nothing_is_read_outside_of_the_input_folder(comfyui: ComfyServer, name: str) -> None:
    rgba().save(comfyui.home / "secret.png")
    status, answer = submit(comfyui, graph(name, "outside"))
    assert status == 400 and "Expected" in answer["node_errors"]["1"]["errors"][0]["details"]


def test_the_loader_has_an_upload_button(comfyui: ComfyServer) -> None:
    info = json.loads(get(comfyui, "/object_info/Bundle3D_LoadPhoto"))["Bundle3D_LoadPhoto"]
    assert info["input"]["required"]["image"][1]["image_upload"] is True
