"""ComfyUI for the browser: it comes up with this pack, keeps its files, and ends with Ctrl+C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bundle3d.pipelines.comfyui_folder import find_comfyui
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.runner import serve as serving
from bundle3d.pipelines.runner.command import main, parse_arguments
from bundle3d.pipelines.runner.serve import is_free, serve
from bundle3d.pipelines.runner.server import DIRECT
from bundle3d.tests.support.server import missing


def fetch(url: str) -> Any:
    with DIRECT.open(url, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.skipif(os.name == "nt", reason="Ctrl+C cannot be sent to one process there")
def test_comfyui_is_served_with_the_pack_until_ctrl_c(tmp_path: Path) -> None:
    try:
        find_comfyui()
    except Bundle3DError as error:
        missing(str(error))
    home = tmp_path / "home"
    command = [sys.executable, "-m", "bundle3d.pipelines.runner", "serve", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = re.match(r"Open (http://127\.0\.0\.1:(\d+)) in a browser", process.stdout.readline())
            assert told is not None
            url = told[1]
            assert fetch(f"{url}/object_info/Bundle3D_LoadMesh")["Bundle3D_LoadMesh"]["display_name"] == "Load Mesh"
            assert "Text to 3D" in fetch(f"{url}/workflow_templates")["bundle3d"]
            assert (home / "input" / "bundle3d_photo.png").is_file()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
    assert is_free(int(told[2]))
    assert "IMPORT FAILED" not in (home / "server.log").read_text(encoding="utf-8")


def test_a_taken_port_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "ComfyServer", lambda **_: pytest.fail("started"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not is_free(port)
        assert main(["serve", "--port", str(port), "--home", str(tmp_path)]) == 2
    assert f"{port} is taken or not allowed; name another with --port" in capsys.readouterr().err
    assert main(["serve", "--port", "70000", "--home", str(tmp_path)]) == 2


def test_a_comfyui_that_ends_by_itself_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(
        "import sys, threading, time\n"
        "from http.server import HTTPServer, SimpleHTTPRequestHandler\n"
        "open('system_stats', 'w').close()\n"
        "server = HTTPServer(('127.0.0.1', int(sys.argv[sys.argv.index('--port') + 1])), SimpleHTTPRequestHandler)\n"
        "server.handle_request()\n"
        "print('no memory left')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    with pytest.raises(Bundle3DError, match=r"ended by itself; its last lines:[\s\S]*no memory left$"):
        serve(tmp_path / "home", None)


def test_its_files_are_kept_in_the_pack_unless_told_otherwise() -> None:
    options = parse_arguments(["serve"])
    assert options.home == serving.HOME and options.port is None
