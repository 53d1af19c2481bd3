"""The painter on Paint Region in the real frontend: strokes, undo, zoom, reloading, and the mask that a run gets."""

from __future__ import annotations

import json
import math
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
SIZE = (512, 256)  # width and height
STAGE = ".bundle3d-painter .stage"
GRAPH: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "sphere.png"}, "_meta": {"title": "Picture"}},
    "2": {
        "class_type": "Bundle3D_PaintRegion",
        "inputs": {"image": ["1", 0], "mask_file": ""},
        "_meta": {"title": "Paint"},
    },
    "3": {"class_type": "MaskToImage", "inputs": {"mask": ["2", 0]}, "_meta": {"title": "As image"}},
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}, "_meta": {"title": "Mask"}},
}
PAINTER = "app.graph._nodes.find(node => node.comfyClass === 'Bundle3D_PaintRegion')"


@pytest.fixture(scope="module")
def painter_page(browser: Browser, comfyui: ComfyServer) -> Iterator[Page]:
    """A page with the painter in it, without the tutorial in front of it."""
    Image.open(BUNDLE).resize(SIZE).save(comfyui.input_folder / "sphere.png")
    Image.new("RGB", (96, 64), "white").save(comfyui.input_folder / "small.png")
    settings = json.dumps({"Comfy.TutorialCompleted": True}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{comfyui.url}/api/settings", settings)).close()
    with frontend(browser, comfyui.url) as page:
        yield page


@pytest.fixture
def page(painter_page: Page) -> Page:
    """The painter with its picture, and nothing painted yet."""
    painter_page.evaluate("graph => app.loadApiJson(graph, 'painter')", GRAPH)
    show_picture(painter_page)
    return painter_page


def show_picture(page: Page) -> None:
    wait_for_painter(page)
    press(page, "Show picture")
    page.wait_for_function(f"() => {PAINTER}.bundle3dShown", timeout=120_000)
    page.wait_for_function("() => !document.querySelector('.bundle3d-painter img').hidden")
    center(page)


def wait_for_painter(page: Page) -> None:
    """Until the page shows the painter of the present node and no other."""
    page.wait_for_function(
        f"""() => {{
            const painters = document.querySelectorAll('.bundle3d-painter');
            const widget = {PAINTER}?.widgets.find(({{ name }}) => name === 'painter');
            return painters.length === 1 && widget?.element === painters[0];
        }}"""
    )


def center(page: Page, zoom: float = 1.0) -> None:
    page.evaluate(f"zoom => {{ app.canvas.ds.scale = zoom; app.canvas.centerOnNode({PAINTER}); }}", zoom)
    page.evaluate(  # the page follows the graph some pictures later
        f"""async () => {{
            const place = () => JSON.stringify(document.querySelector('{STAGE}').getBoundingClientRect());
            for (let [last, same] = ['', 0]; same < 20; [last, same] = [place(), place() === last ? same + 1 : 0]) {{
                await new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve), 20));
            }}
        }}"""
    )


def at(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where on the screen the share ``x``, ``y`` of the picture is."""
    box = page.locator(STAGE).bounding_box()
    assert box is not None
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


def stroke(page: Page, start: tuple[float, float], end: tuple[float, float], button: Any = "left") -> None:
    page.mouse.move(*at(page, *start))
    page.mouse.down(button=button)
    page.mouse.move(*at(page, *end), steps=8)
    page.mouse.up(button=button)


def painted(page: Page) -> np.ndarray:
    """Coverage (H, W) of the canvas, 0 to 255."""
    url = page.evaluate(f"() => document.querySelector('{STAGE} canvas').toDataURL()")
    with urllib.request.urlopen(url) as data:
        return np.asarray(Image.open(BytesIO(data.read())))[..., 3]


def mask_file(page: Page) -> str:
    return str(page.evaluate(f"() => {PAINTER}.widgets.find(({{ name }}) => name === 'mask_file').value"))


def wait_until_saved(page: Page) -> None:
    widget = f"{PAINTER}.widgets.find(({{ name }}) => name === 'mask_file')"
    page.evaluate(f"async () => {{ await {widget}.serializeValue(); }}")


def press(page: Page, name: str) -> None:
    page.locator(".bundle3d-painter button", has_text=name).dispatch_event("click")


def run(page: Page, comfyui: ComfyServer) -> np.ndarray:
    """Runs the whole graph; the mask that arrived behind the node, 0 to 255."""
    known = set(history(comfyui))
    page.evaluate("() => app.queuePrompt(0)")
    for _ in range(600):
        new = [job for key, job in history(comfyui).items() if key not in known]
        if new:
            break
        page.wait_for_timeout(200)
    (picture,) = new[0]["outputs"]["4"]["images"]
    address = f"{comfyui.url}/view?filename={picture['filename']}&type=temp&subfolder={picture['subfolder']}"
    with urllib.request.urlopen(address) as answer:
        return np.asarray(Image.open(BytesIO(answer.read())).convert("L"))


def history(comfyui: ComfyServer) -> dict[str, Any]:
    with urllib.request.urlopen(f"{comfyui.url}/history") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_what_is_painted_arrives_as_the_mask(page: Page, comfyui: ComfyServer) -> None:
    assert not run(page, comfyui).any()
    stroke(page, (0.10, 0.25), (0.15, 0.25))
    stroke(page, (0.60, 0.75), (0.65, 0.75))
    canvas = painted(page)
    height, width = canvas.shape
    assert (width, height) == SIZE
    assert canvas[height // 4, width // 8] == 255 and canvas[3 * height // 4, round(width * 0.62)] == 255
    assert canvas[height // 2, width // 2] == 0 and 0 < (canvas > 0).mean() < 0.05
    assert np.array_equal(run(page, comfyui), canvas)
    assert (comfyui.input_folder / mask_file(page)).is_file()
    press(page, "Undo")
    assert painted(page)[3 * height // 4, round(width * 0.62)] == 0
    assert np.array_equal(run(page, comfyui), painted(page))
    assert [error for error in page.errors if "bundle3d" in error.lower()] == []  # type: ignore[attr-defined]


def test_undo_and_redo_give_back_the_very_same_pixels_and_names(page: Page) -> None:
    states = [(painted(page), mask_file(page))]
    for row in (0.2, 0.4, 0.6):
        stroke(page, (0.1, row), (0.6, row + 0.1))
        states.append((painted(page), mask_file(page)))
    stroke(page, (0.3, 0.1), (0.3, 0.9), button="right")
    assert (painted(page).astype(int) <= states[-1][0]).all() and painted(page).sum() < states[-1][0].sum()
    states.append((painted(page), mask_file(page)))
    press(page, "Clear")
    assert not painted(page).any() and mask_file(page) == ""
    for pixels, name in reversed(states):
        press(page, "Undo")
        assert np.array_equal(painted(page), pixels) and mask_file(page) == name
    assert page.locator(".bundle3d-painter button", has_text="Undo").is_disabled()
    for pixels, name in states[1:]:
        press(page, "Redo")
        assert np.array_equal(painted(page), pixels) and mask_file(page) == name
    assert len({name for _, name in states}) == len(states)


def test_keys_and_slider_change_the_size_and_erasing_takes_away(page: Page) -> None:
    def dot(x: float) -> float:
        before = (painted(page) > 127).sum()
        stroke(page, (x, 0.5), (x, 0.5))
        return math.sqrt(4 * int((painted(page) > 127).sum() - before) / math.pi)

    page.mouse.move(*at(page, 0.1, 0.5))
    size = float(page.locator(".bundle3d-painter label span").inner_text())
    assert dot(0.1) == pytest.approx(size, rel=0.15, abs=1)
    for _ in range(4):
        page.keyboard.press("]")
    assert dot(0.4) == pytest.approx(2 * size, rel=0.15, abs=1)
    page.keyboard.press("[")
    assert float(page.locator(".bundle3d-painter label span").inner_text()) < 2 * size
    page.evaluate(
        "() => { const slider = document.querySelector('.bundle3d-painter input'); slider.value = 3;"
        " slider.dispatchEvent(new Event('input')); }"
    )
    assert dot(0.8) == pytest.approx(8, rel=0.2)
    press(page, "Erase")
    before = painted(page)
    stroke(page, (0.4, 0.5), (0.4, 0.5))
    assert painted(page).sum() < before.sum()
    press(page, "Brush")


@pytest.mark.parametrize(("zoom", "size"), [(0.7, (620, 500)), (1.6, (620, 500)), (1.0, (900, 640))])
def test_paint_is_below_the_pointer_whatever_the_zoom_and_the_size_of_the_node(
    page: Page, zoom: float, size: tuple[int, int]
) -> None:
    page.evaluate(f"size => {PAINTER}.setSize(size)", list(size))
    center(page, zoom)
    box = page.locator(STAGE).bounding_box()
    assert box is not None
    canvas = painted(page)
    assert box["width"] / box["height"] == pytest.approx(canvas.shape[1] / canvas.shape[0], rel=0.02)
    stroke(page, (0.30, 0.40), (0.30, 0.40))
    rows, columns = np.nonzero(painted(page))
    precision = 1.5 * canvas.shape[1] / box["width"]  # the pointer's events come in whole pixels of the screen
    assert columns.mean() == pytest.approx(0.30 * canvas.shape[1], abs=precision)
    assert rows.mean() == pytest.approx(0.40 * canvas.shape[0], abs=precision)
    center(page)


def test_the_picture_stays_in_place_whatever_is_said_below_it(page: Page) -> None:
    before = page.locator(STAGE).bounding_box()
    status = "document.querySelector('.bundle3d-painter .status')"
    page.evaluate(f"() => {{ {status}.textContent = 'Many words. '.repeat(99); }}")
    center(page)
    assert page.locator(STAGE).bounding_box() == before


def test_touch_and_pen_paint_and_the_end_of_the_pen_erases(page: Page) -> None:
    def draw(kind: str, button: int) -> None:
        points = [at(page, 0.2 + step / 50, 0.3) for step in range(6)]
        for step, (x, y) in enumerate(points):
            name = "pointerdown" if step == 0 else "pointermove"
            page.evaluate(
                "([name, options]) => { const stage = document.querySelector('.bundle3d-painter .stage');"
                " stage.setPointerCapture = () => {}; stage.dispatchEvent(new PointerEvent(name, options)); }",
                [name, {"pointerId": 7, "pointerType": kind, "button": button, "clientX": x, "clientY": y}],
            )
        page.evaluate(
            "() => document.querySelector('.bundle3d-painter .stage')"
            ".dispatchEvent(new PointerEvent('pointerup', { pointerId: 7 }))"
        )

    draw("touch", 0)
    touched = painted(page)
    assert touched[round(0.3 * touched.shape[0]), round(0.24 * touched.shape[1])] == 255
    draw("pen", 5)
    assert painted(page).sum() < 0.1 * touched.sum()  # what is half covered is half erased


def test_a_reopened_workflow_shows_its_painting_and_goes_on_from_there(page: Page, comfyui: ComfyServer) -> None:
    stroke(page, (0.10, 0.25), (0.15, 0.25))
    before, name = painted(page), mask_file(page)
    wait_until_saved(page)
    page.evaluate("async () => { await app.loadGraphData(app.graph.serialize()); }")
    wait_for_painter(page)
    page.wait_for_function(f"() => document.querySelector('{STAGE} canvas').width > 1")
    assert mask_file(page) == name and np.array_equal(painted(page), before)
    show_picture(page)
    stroke(page, (0.60, 0.25), (0.65, 0.25))
    assert mask_file(page) != name
    assert np.array_equal(run(page, comfyui), painted(page))
    assert np.array_equal(np.asarray(Image.open(comfyui.input_folder / name).convert("L")), before)


def test_a_picture_of_another_size_asks_to_clear(page: Page, comfyui: ComfyServer) -> None:
    stroke(page, (0.10, 0.25), (0.15, 0.25))
    name = mask_file(page)
    page.evaluate("() => { app.graph.getNodeById(1).widgets[0].value = 'small.png'; }")
    known = set(history(comfyui))
    page.evaluate("() => app.queuePrompt(0)")
    for _ in range(100):
        failed = [job for key, job in history(comfyui).items() if key not in known]
        if failed:
            break
        page.wait_for_timeout(200)
    assert "press Clear on the node" in json.dumps(failed[0]["status"])
    page.wait_for_timeout(300)
    page.keyboard.press("Escape")
    press(page, "Clear")
    assert mask_file(page) == ""
    page.evaluate(f"() => {{ {PAINTER}.bundle3dShown = null; }}")
    show_picture(page)
    page.wait_for_function(f"() => document.querySelector('{STAGE} canvas').width === 96")
    stroke(page, (0.5, 0.5), (0.6, 0.5))
    mask = run(page, comfyui)
    assert mask.shape == (64, 96) and mask.any()
    assert (comfyui.input_folder / name).is_file()


def test_a_missing_file_is_named_and_can_be_replaced(page: Page, comfyui: ComfyServer) -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["2"]["inputs"]["mask_file"] = "bundle3d/gone.png"
    page.evaluate("graph => app.loadApiJson(graph, 'painter')", graph)
    page.wait_for_function("() => document.querySelector('.bundle3d-painter .status').textContent.includes('gone.png')")
    press(page, "Clear")
    assert mask_file(page) == ""
    center(page)
    show_picture(page)
    stroke(page, (0.5, 0.5), (0.6, 0.5))
    assert np.array_equal(run(page, comfyui), painted(page))
