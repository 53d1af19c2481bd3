"""The command line: ``bundle3d run WORKFLOW --set "Node title.input=value" --out DIR``; ``serve`` and others."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ..checkpoints import command as checkpoints
from ..comfyui_folder import PACK
from ..errors import Bundle3DError
from ..training import command as training
from . import serve as serving
from .check_settings import check_settings
from .client import CancelledError, GraphError, TransportError
from .graph import read_graph
from .run import pack_version, run_workflow
from .server import ComfyServer
from .watch import Display

EXIT_CODES = """exit codes:
  0    every output is in the folder given with --out
  1    the graph was refused or failed; the same call fails again
  2    the call is wrong: arguments, files, node titles
  3    the server cannot be reached or went away; the same call may work later
  130  cancelled; the job was taken off the server
"""


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, with --set as a dictionary."""
    parser = argparse.ArgumentParser(
        prog="bundle3d", epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"bundle3d {pack_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run", help="run a workflow without a browser", epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    run.add_argument(
        "workflow", type=Path,
        help="workflow file, as ComfyUI's Save or Export (API) writes it, or a recipe's name, as in \"Text to 3D\"",
    )  # fmt: skip
    run.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NODE.INPUT=VALUE",
        help='change an input, as in "Bundle image.image=chair.png": node title or id, input, value or local file',
    )  # fmt: skip
    run.add_argument("--out", type=Path, required=True, help="folder for the results; made if it is missing")
    run.add_argument(
        "--server", type=with_scheme,
        help="a running ComfyUI such as http://127.0.0.1:8188; without it one is started and stopped again",
    )  # fmt: skip
    serve = commands.add_parser("serve", help="start ComfyUI with this pack for the browser, until Ctrl+C")
    serving.add_arguments(serve)
    models = commands.add_parser(
        "models", help="say which model files are there, which are missing, and what fits",
        epilog=checkpoints.EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    checkpoints.add_arguments(models)
    train = commands.add_parser(
        "train", help="train adapters on a folder of meshes",
        epilog=training.EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    training.add_arguments(train)
    parsed = parser.parse_args(arguments)
    if parsed.command != "run":
        return parsed
    settings = {}
    for setting in parsed.settings:
        address, sign, value = setting.partition("=")
        if not sign or "." not in address:
            parser.error(f'--set takes "Node title.input=value", but {setting!r} is given')
        settings[address] = value
    parsed.settings = settings
    return parsed


def with_scheme(server: str) -> str:
    """The address of a server, which may be given as host and port alone."""
    return server if "://" in server else f"http://{server}"


def find_workflow(workflow: Path) -> Path:
    """The workflow file, or the shipped one of that name; upper and lower case are the same."""
    if workflow.is_file():
        return workflow
    shipped = sorted((PACK / "workflows").glob("*.json"))
    for path in shipped:
        if path.stem.casefold() == str(workflow).casefold():
            return path
    names = ", ".join(repr(path.stem) for path in shipped)
    raise Bundle3DError(
        f"The workflow file {workflow} does not exist; check the name, or name one of the recipes {names}."
    )


def check_out(out: Path) -> None:
    """Raises Bundle3DError where no folder for the results can be made, before they have been computed."""
    there = next(path for path in (out, *out.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "cannot be written to" if there.is_dir() else "is no folder"
        raise Bundle3DError(f"--out should name a folder for the results, but {there} {what}; name another.")


def end_as_by_ctrl_c() -> None:
    """Makes this process, told to end, end as by Ctrl-C: ComfyUI and the job would go on without it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))


def run(workflow: Path, settings: dict[str, str], out: Path, server: str | None) -> dict[str, Any]:
    """Runs a workflow on the server, or on one started for it; see :func:`run_workflow`."""
    end_as_by_ctrl_c()
    workflow = find_workflow(workflow)
    check_out(out)
    if server is not None:
        return asyncio.run(run_workflow(workflow, settings, out, server))
    check_settings(read_graph(workflow), settings)
    display = Display()
    display.now("Starting ComfyUI")
    with ComfyServer() as own:
        display.done(f"Started ComfyUI from {own.comfyui}")
        return asyncio.run(run_workflow(workflow, settings, out, own.url, display=display, alive=own.alive))


def main(arguments: list[str] | None = None) -> int:
    """The ``bundle3d`` command; returns its exit code, the shells' own for a closed pipe."""
    try:
        code = dispatch(parse_arguments(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads, such as head, has read enough; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def dispatch(options: argparse.Namespace) -> int:
    """Runs the command that was asked for; its exit code."""
    try:
        if options.command == "models":
            return checkpoints.models(options.stage, options.models_dir, options.verify, options.json)
        if options.command == "train":
            return training.train(options)
        if options.command == "serve":
            end_as_by_ctrl_c()
            serving.serve(options.home, options.port)
            return 0
        result = run(options.workflow, options.settings, options.out, options.server)
    except GraphError as error:
        return fail(error, 1)
    except TransportError as error:
        return fail(error, 3)
    except (CancelledError, KeyboardInterrupt) as error:
        return fail(error if isinstance(error, CancelledError) else "Cancelled.", 130)
    except Bundle3DError as error:
        return fail(error, 2)
    for row in result["files"]:
        if not row["file"].startswith("previews/"):
            print(options.out / row["file"])
    print(options.out / "result.json")
    return 0


def fail(problem: object, code: int) -> int:
    """Says what went wrong and passes the exit code on."""
    print(f"bundle3d: {problem}", file=sys.stderr)
    return code
