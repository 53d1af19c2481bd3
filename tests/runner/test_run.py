"""Whole runs on the real ComfyUI, with core nodes only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner.client import CancelledError, ComfyClient, GraphError, TransportError
from bundle3d.pipelines.runner.command import main
from bundle3d.pipelines.runner.run import run_workflow
from bundle3d.pipelines.runner.server import ComfyServer, free_port
from bundle3d.tests.support.server import RunGraph
from PIL import Image

GRAPHS = Path(__file__).parent / "graphs"
PICTURE = GRAPHS / "picture.api.json"
PICTURE_UI = GRAPHS / "picture.json"


def slow_graph() -> dict[str, dict[str, object]]:
    """Much more than ten seconds of work that can be cancelled between its nodes."""
    graph: dict[str, dict[str, object]] = {
        "0": {"class_type": "EmptyImage", "inputs": {"width": 1000, "height": 1000, "batch_size": 1, "color": 7}}
    }
    for i in range(1, 120):
        inputs = {"image": [str(i - 1), 0], "blur_radius": 31, "sigma": 9.0}
        graph[str(i)] = {"class_type": "ImageBlur", "inputs": inputs}
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["119", 0], "filename_prefix": "slow"}}
    return graph


def test_api_graph_gives_its_file_and_a_result(run_graph: RunGraph) -> None:
    done = run_graph(PICTURE, {"Picture.width": 32, "save picture.FILENAME_PREFIX": "green", "Picture.color": 0x00FF00})
    [picture] = done.files(".png")
    assert picture.name.startswith("green")
    with Image.open(picture) as image:
        assert image.size == (32, 48)
        assert image.convert("RGB").getpixel((3, 3)) == (0, 255, 0)
    written = json.loads((done.folder / "result.json").read_text(encoding="utf-8"))
    assert written == done.result
    assert {row["node"] for row in written["nodes"]} == {"Picture", "Save picture"}
    assert written["peak_memory_bytes"] > 100e6
    assert written["versions"]["comfyui"].startswith("0.")
    assert written["files"][0]["bytes"] == picture.stat().st_size


def test_ui_graph_gives_the_same_picture(run_graph: RunGraph) -> None:
    [from_ui] = run_graph(PICTURE_UI).files(".png")
    [from_api] = run_graph(PICTURE).files(".png")
    with Image.open(from_ui) as a, Image.open(from_api) as b:
        assert a.tobytes() == b.tobytes()


def test_a_cached_graph_still_writes_its_file(run_graph: RunGraph) -> None:
    first, second = run_graph(PICTURE), run_graph(PICTURE)
    assert len(first.files(".png")) == len(second.files(".png")) == 1
    assert any(row["cached"] for row in second.result["nodes"])


def test_a_local_file_is_uploaded(run_graph: RunGraph, tmp_path: Path) -> None:
    photo = tmp_path / "photo of a cat.png"
    Image.new("RGB", (20, 10), (1, 2, 3)).save(photo)
    [saved] = run_graph(GRAPHS / "copy.api.json", {"Photo.image": photo}).files(".png")
    with Image.open(saved) as image:
        assert image.size == (20, 10) and image.convert("RGB").getpixel((0, 0)) == (1, 2, 3)


def test_previews_are_kept_apart(run_graph: RunGraph) -> None:
    graph = json.loads(PICTURE.read_text())
    graph["3"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    done = run_graph(graph)
    assert sorted(row["file"].split("/")[0] for row in done.result["files"])[-1] == "previews"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"Pictur.width": 3}, "the titles are: Picture, Save picture"),
        ({"Picture.breadth": 3}, "its inputs are: width, height"),
        ({"Picture.width": "wide"}, "should be of type INT"),
    ],
)
def test_a_wrong_setting_is_refused(run_graph: RunGraph, settings: dict[str, object], words: str) -> None:
    with pytest.raises(Bundle3DError, match=words):
        run_graph(PICTURE, settings)


def test_a_missing_file_is_refused(run_graph: RunGraph) -> None:
    for name in ("no/such.png", "such.png"):
        with pytest.raises(Bundle3DError, match="neither a local file nor in ComfyUI's input folder"):
            run_graph(GRAPHS / "copy.api.json", {"Photo.image": name})


def test_the_server_names_the_node_that_refuses(run_graph: RunGraph) -> None:
    with pytest.raises(GraphError, match=r"node 1 \(EmptyImage\)"):
        run_graph(PICTURE, {"Picture.width": -5})


def test_a_graph_of_which_a_part_is_refused_does_not_run(comfyui: ComfyServer, run_graph: RunGraph) -> None:
    """ComfyUI itself leaves out the outputs that it refuses, and is content with the others."""
    graph = json.loads(PICTURE.read_text())
    graph["3"] = {"class_type": "ImageInvert", "inputs": {"image": ["4", 0]}}
    graph["4"] = {"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 0}}
    graph["5"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "inverted"}}
    with pytest.raises(GraphError, match=r"refuses a part of the graph:\n  node 4 \(EmptyImage\): .*width"):
        run_graph(graph)
    wait_until(lambda: is_idle(comfyui), 10)


def test_unknown_node_types_are_named(run_graph: RunGraph) -> None:
    with pytest.raises(GraphError, match="NoSuchNode"):
        run_graph({"1": {"class_type": "NoSuchNode", "inputs": {}}})


def test_a_failing_node_is_a_graph_error(run_graph: RunGraph) -> None:
    graph = json.loads(PICTURE.read_text())
    graph["3"] = {"class_type": "ImageCrop", "inputs": {"image": ["1", 0], "width": 8, "height": 8, "x": 0, "y": 0}}
    graph["4"] = {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["5", 0]}}
    graph["5"] = {"class_type": "LoadImage", "inputs": {"image": "../../etc/passwd"}}
    graph["2"]["inputs"]["images"] = ["4", 0]
    with pytest.raises(GraphError):
        run_graph(graph)


def test_no_server_is_a_transport_error(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="does not answer"):
        asyncio.run(run_workflow(PICTURE, {}, tmp_path, f"http://127.0.0.1:{free_port()}"))


def test_exit_codes(comfyui: ComfyServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: str) -> int:
        codes: list[int] = []
        work = threading.Thread(target=lambda: codes.append(main(["run", *arguments, "--out", str(tmp_path)])))
        work.start()
        work.join()
        return codes[0]

    assert call(str(PICTURE), "--server", comfyui.url) == 0
    assert str(tmp_path / "result.json") in capsys.readouterr().out
    assert call(str(PICTURE), "--server", comfyui.url, "--set", "Picture.width=0") == 1
    assert call(str(tmp_path / "none.json"), "--server", comfyui.url) == 2
    assert call(str(PICTURE), "--server", f"http://127.0.0.1:{free_port()}") == 3
    assert "Traceback" not in capsys.readouterr().err


def is_idle(server: ComfyServer) -> bool:
    with urllib.request.urlopen(f"{server.url}/queue", timeout=30) as answer:
        queue = json.load(answer)
    return not queue["queue_running"] and not queue["queue_pending"]


def wait_until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


@pytest.mark.skipif(os.name == "nt", reason="a console event cannot be sent to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_an_end_from_outside_cancel_the_job(
    comfyui: ComfyServer, tmp_path: Path, number: signal.Signals
) -> None:
    graph = tmp_path / "slow.json"
    graph.write_text(json.dumps(slow_graph()))
    command = [sys.executable, "-m", "bundle3d.pipelines.runner", "run", str(graph), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--server", comfyui.url],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore Ctrl-C, and their children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        wait_until(lambda: not is_idle(comfyui), 120)
        process.send_signal(number)
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        _, errors = process.communicate()
    assert "Cancelled" in errors and "Traceback" not in errors
    wait_until(lambda: is_idle(comfyui), 60)


def test_a_job_cancelled_on_the_server_ends_the_run(comfyui: ComfyServer, run_graph: RunGraph) -> None:
    def interrupt() -> None:
        wait_until(lambda: not is_idle(comfyui), 120)
        request = urllib.request.Request(f"{comfyui.url}/interrupt", data=b"", method="POST")

        def interrupted() -> bool:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=10).close()
            return is_idle(comfyui)

        # The server forgets an interruption that reaches it just as the job starts.
        wait_until(interrupted, 60)

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(CancelledError):
        run_graph(slow_graph())
    helper.join()


def test_client_reads_the_queue_of_others(comfyui: ComfyServer) -> None:
    async def ask() -> bool:
        async with ComfyClient(comfyui.url) as client:
            return await client.is_queued("00000000-0000-0000-0000-000000000000")

    holder: list[bool] = []
    worker = threading.Thread(target=lambda: holder.append(asyncio.run(ask())))
    worker.start()
    worker.join()
    assert holder == [False]
