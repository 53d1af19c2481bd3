"""Starts and stops a ComfyUI server of our own, apart from the user's input, output and settings."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from ..comfyui_folder import PACK, find_comfyui
from ..errors import Bundle3DError
from .links import link_folder, remove_tree

# Always the same place: the cache of compiled kernels belongs to the path under which ComfyUI imports the pack.
LINKED_PACK = PACK / ".cache" / "custom_nodes" / "bundle3d"
LAUNCHER = Path(__file__).with_name("launch_comfyui.py")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach the loopback address


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_this_pack(folder: Path) -> bool:
    """Whether custom nodes are this pack or another copy of it, whose nodes would take the place of those here."""
    project = folder / "pyproject.toml"
    text = project.read_text(encoding="utf-8", errors="replace") if project.is_file() else ""
    return re.search(r'^name = "bundle3d"$', text, re.MULTILINE) is not None


class ComfyServer:
    """A ComfyUI process on a free loopback port; use it in a ``with`` statement.

    Its input, output, temp and user folders lie in a folder of its own, removed at the end. The models folder and,
    unless ``only_this_pack``, the other custom nodes of the ComfyUI folder are shown in it by links.

    comfyui: ComfyUI folder; the default is :func:`find_comfyui`. arguments: more ComfyUI command line arguments.
    diffusers: one more folder of diffusers pipelines. port: a free one unless given.
    home: where to keep the folders instead of a temporary folder; it is then left in place.
    Raises Bundle3DError, with the last lines of the log, where ComfyUI does not come up within ``timeout`` seconds.
    """

    def __init__(
        self,
        comfyui: Path | None = None,
        *,
        home: Path | None = None,
        arguments: Iterable[str] = (),
        only_this_pack: bool = False,
        diffusers: Path | None = None,
        port: int | None = None,
        timeout: float = 300.0,
    ) -> None:
        self.comfyui = comfyui or find_comfyui()
        self.arguments = list(arguments)
        self.only_this_pack = only_this_pack
        self.diffusers = diffusers
        self.timeout = timeout
        self.keep_home = home is not None
        self.home = home or Path(tempfile.mkdtemp(prefix="bundle3d-"))
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        return self.home / "server.log"

    @property
    def extra_paths(self) -> Path:
        return self.home / "extra_paths.yaml"

    @property
    def input_folder(self) -> Path:
        return self.home / "input"

    def log(self, lines: int = 0) -> str:
        """What the server has printed so far, without colours; ``lines`` > 0 gives only the last ones."""
        text = self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> ComfyServer:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ends the process and removes its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if not self.keep_home:
            remove_tree(self.home)

    def _start(self) -> None:
        self._lay_out_home()
        command = [
            os.environ.get("COMFYUI_PYTHON", sys.executable), str(LAUNCHER), str(self.comfyui),
            "--extra-model-paths-config",
            str(self.extra_paths),
            "--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(self.home),
            "--database-url", "sqlite:///:memory:", "--disable-auto-launch", *self.arguments,
        ]  # fmt: skip
        with self.log_file.open("wb") as log:
            # A process group of its own: Ctrl-C must reach only the runner, which cancels the job in order.
            group: dict[str, Any] = {"start_new_session": True}
            if sys.platform == "win32":
                group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
            self.process = subprocess.Popen(
                command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **group
            )
        self._wait_until_it_answers()

    def _lay_out_home(self) -> None:
        for name in ("input", "output", "temp", "user", "custom_nodes"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        if (self.comfyui / "models").is_dir():
            link_folder(self.comfyui / "models", self.home / "models")
        link_folder(PACK, LINKED_PACK)
        paths = {"bundle3d": {"custom_nodes": str(LINKED_PACK.parent)}}
        if self.diffusers is not None:
            paths["bundle3d"]["diffusers"] = str(self.diffusers)
        self.extra_paths.write_text(json.dumps(paths), encoding="utf-8")  # ComfyUI reads YAML, of which JSON is a part
        linked: set[Path] = set()
        others = self.comfyui / "custom_nodes"
        if self.only_this_pack or not others.is_dir():
            return
        for folder in sorted(others.iterdir()):
            usable = folder.is_dir() and (folder / "__init__.py").is_file() and not folder.name.endswith(".disabled")
            if usable and folder.resolve() not in linked and not is_this_pack(folder):
                linked.add(folder.resolve())
                link_folder(folder, self.home / "custom_nodes" / folder.name)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            if not self.alive():
                raise Bundle3DError(f"ComfyUI in {self.comfyui} ended while starting; its last lines:\n{self.log(15)}")
            try:
                with DIRECT.open(f"{self.url}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise Bundle3DError(
            f"ComfyUI in {self.comfyui} did not answer within {self.timeout:.0f} s; its last lines:\n{self.log(15)}"
        )
