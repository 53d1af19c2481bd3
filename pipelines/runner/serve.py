"""``bundle3d serve``: ComfyUI with this pack, for the browser, until Ctrl+C."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from pathlib import Path

from ..comfyui_folder import PACK
from ..errors import Bundle3DError
from .server import ComfyServer, free_port
from .watch import Display

USUAL_PORT = 8188
HOME = PACK / "output" / "comfyui"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--port", type=int, help=f"port to listen on; {USUAL_PORT}, or any free one where that is taken, unless given"
    )
    parser.add_argument(
        "--home", type=Path, default=HOME, metavar="DIR",
        help="where ComfyUI's input, output and user folders are kept; %(default)s unless given",
    )  # fmt: skip


def serve(home: Path, port: int | None) -> None:
    """Starts ComfyUI, prints its address and waits for Ctrl+C, which stops it; ``home`` stays as it is then.

    Raises Bundle3DError where ``port`` is taken, ComfyUI does not come up or it ends by itself.
    """
    if port is not None and not is_free(port):
        raise Bundle3DError(f"Expected a free port, but {port} is taken or not allowed; name another with --port.")
    display = Display()
    display.now("Starting ComfyUI")
    chosen = port or (USUAL_PORT if is_free(USUAL_PORT) else free_port())
    try:
        with ComfyServer(home=home.absolute(), port=chosen) as server:
            display.done(f"Started ComfyUI from {server.comfyui}")
            print(f"Open {server.url} in a browser; the recipes are under Templates. Ctrl+C stops ComfyUI.", flush=True)
            print(f"What it saves is kept in {server.home / 'output'}, its log is {server.log_file}.", flush=True)
            while server.alive():
                time.sleep(0.2)
            raise Bundle3DError(f"ComfyUI has ended by itself; its last lines:\n{server.log(15)}")
    except KeyboardInterrupt:
        print("\nComfyUI has stopped.", flush=True)


def is_free(port: int) -> bool:
    """Whether a TCP port of the loopback address can be listened on at this moment."""
    with socket.socket() as probe:
        if sys.platform != "win32":  # where it would also give ports that are listened on
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as ComfyUI, for one that has just stopped
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
