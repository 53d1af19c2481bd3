"""The viewer on Inspect Bundle in the real frontend: tiles, cameras, and the pixel under the pointer."""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.support.browser import frontend
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BUNDLE = Path(__file__).resolve().parents[1] / "data" / "bundles" / "5.png"  # the sphere
RADIUS = 4.5 * 0.2195  # its radius, from R/d in the specification
NUMBER = r"(-?\d+\.\d{3})"


@pytest.fixture(scope="module")
def viewer_page(browser: Browser, comfyui: ComfyServer) -> Iterator[Page]:
    """A page on which Inspect Bundle has run on the sphere, without the tutorial in front of it."""
    shutil.copyfile(BUNDLE, comfyui.input_folder / "sphere.png")
    settings = json.dumps({"Comfy.TutorialCompleted": True}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{comfyui.url}/api/settings", settings)).close()
    with frontend(browser, comfyui.url) as page:
        _inspect_sphere(page)
        yield page


def _inspect_sphere(page: Page) -> None:
    rig = {"rig": "kiss3dgen", "orbit_views": 6, "orbit_elevation": 5.0, "orbit_distance": 4.5, "orbit_fov": 30.0}
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "sphere.png"}, "_meta": {"title": "Bundle image"}},
        "2": {
            "class_type": "Bundle3D_SplitBundle",
            "inputs": {"bundle": ["1", 0], **rig, "soft_mask": True},
            "_meta": {"title": "Split"},
        },
        "3": {"class_type": "Bundle3D_InspectBundle", "inputs": {"views": ["2", 0]}, "_meta": {"title": "Inspect"}},
    }
    page.evaluate("graph => app.loadApiJson(graph, 'viewer')", graph)
    page.wait_for_selector(".bundle3d-viewer", state="attached")
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function(
        "() => app.graph._nodes.some(node => node.bundle3dShown)"
        " && document.querySelector('.bundle3d-viewer canvas.strip').height > 40",
        timeout=180_000,
    )
    page.evaluate("() => app.canvas.centerOnNode(app.graph._nodes.find(node => node.bundle3dShown))")
    page.wait_for_timeout(1000)


def picture(page: Page, selector: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(page.locator(selector).screenshot())).convert("RGB")).astype(int)


def read_out(page: Page, column: float, row: float) -> tuple[list[float], list[float]]:
    """Normal and position that are shown for the pointer at this share of the strip's width and height."""
    view = int(column * 4) + 1
    text = ""
    for _ in range(100):
        # The graph may still shift below the pointer; a pointer that rests tells the page nothing.
        box = page.locator(".bundle3d-viewer canvas.strip").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * column - 1, box["y"] + box["height"] * row)
        page.mouse.move(box["x"] + box["width"] * column, box["y"] + box["height"] * row)
        text = page.locator(".bundle3d-viewer .readout").inner_text()
        if text.startswith(f"View {view},"):
            break
        page.wait_for_timeout(200)
    found = [re.search(rf"{word}\s+{NUMBER},\s+{NUMBER},\s+{NUMBER}", text) for word in ("normal", "position")]
    assert all(found), text
    normal, position = ([float(value) for value in match.groups()] for match in found if match)
    return normal, position


def test_hovering_reads_the_normal_and_the_position_of_the_pixel(viewer_page: Page) -> None:
    page = viewer_page
    front, at = read_out(page, 0.125, 0.5)
    assert front == pytest.approx([0.0, 0.0872, 0.9962], abs=0.12)  # the sphere is flat-shaded: one facet's normal
    assert np.linalg.norm(at) == pytest.approx(RADIUS, rel=0.12)  # on the hull, which encloses the sphere
    assert at[2] > 0.8
    left, at = read_out(page, 0.375, 0.5)
    assert left == pytest.approx([0.9962, 0.0872, 0.0], abs=0.12)
    assert at[0] > 0.8
    page.mouse.move(0, 0)
    page.wait_for_function("() => document.querySelector('.bundle3d-viewer .readout').textContent.startsWith('Point')")
    assert [error for error in page.errors if "bundle3d" in error.lower()] == []  # type: ignore[attr-defined]


def test_the_tiles_show_colours_or_normals(viewer_page: Page) -> None:
    page = viewer_page
    strip = ".bundle3d-viewer canvas.strip"
    grey = picture(page, strip)
    height, width = grey.shape[:2]
    assert np.abs(grey[height // 2, width // 8] - 204).max() < 6
    page.get_by_role("button", name="Normals").click()
    colors = picture(page, strip)[height // 2, width // 8]
    page.get_by_role("button", name="Normals").click()
    assert colors[2] > 240 and np.abs(colors[:2] - 128).max() < 20


def test_dragging_turns_the_scene_and_the_cameras_can_be_hidden(viewer_page: Page) -> None:
    page = viewer_page
    scene = ".bundle3d-viewer .scene canvas"
    before = picture(page, scene)
    box = page.locator(scene).bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1] + 20, steps=4)
    page.mouse.up()
    turned = picture(page, scene)
    assert (np.abs(turned - before).sum(-1) > 60).mean() > 0.01
    page.get_by_role("button", name="Cameras").click()
    hidden = picture(page, scene)
    assert (np.abs(hidden - turned).sum(-1) > 60).mean() > 0.005


def test_the_viewer_comes_back_with_the_results_of_a_reopened_workflow(viewer_page: Page) -> None:
    page = viewer_page
    page.evaluate(
        """async () => {
            const outputs = structuredClone(app.nodeOutputs);
            await app.loadGraphData(app.graph.serialize());
            app.nodeOutputs = outputs; // as the frontend does when a tab is opened again
        }"""
    )
    page.wait_for_function("() => app.graph._nodes.some(node => node.bundle3dShown)")
