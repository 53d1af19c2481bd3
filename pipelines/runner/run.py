"""Runs one graph on a ComfyUI server and brings everything it made home."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..comfyui_folder import PACK
from .check_settings import WEIGHT_SUFFIXES, missing_file, missing_weights, refuse_text
from .client import MODEL_SUFFIXES, ApiGraph, CancelledError, ComfyClient, GraphError, TransportError
from .convert import to_api
from .graph import (
    NodeInfo,
    choices,
    find_input,
    input_options,
    is_ui_graph,
    missing_node_types,
    parse_value,
    prefix_outputs,
    read_graph,
    seeds,
    set_input,
    title_of,
    with_titles,
)
from .outputs import output_files, output_texts
from .watch import Display, MemoryPeak, NodeTimes, listening_process

POLL_SECONDS = 1.0
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LOST_POLLS = 5  # failed polls in a row after which a server counts as gone


@dataclass(frozen=True)
class Prepared:
    """A graph ready to be queued."""

    graph: ApiGraph
    ui_graph: dict[str, Any] | None
    prefix: str


async def run_workflow(
    workflow: Path,
    settings: dict[str, str],
    out: Path,
    server: str,
    *,
    display: Display | None = None,
    alive: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Runs a workflow file and returns what is also written to ``out/result.json``.

    settings: ``Node title.input`` -> text; a local file for a file choice is uploaded. out: created if missing; every
    file the graph saves is put there, previews into ``out/previews``. server: such as http://127.0.0.1:8188. alive:
    whether the server can still answer. Raises GraphError, TransportError, CancelledError or Bundle3DError; a
    cancelled task takes its job off the server before it ends.
    """
    display = display or Display()
    async with ComfyClient(server) as client:
        info = await client.get_json("/object_info")
        stats = await client.get_json("/system_stats")
        prepared = await prepare(client, read_graph(workflow), settings, info)
        address = urlsplit(server)
        local = address.hostname in ("127.0.0.1", "localhost", "::1")
        memory = MemoryPeak(listening_process(address.port or 80) if local else None)
        started = time.time()
        times = NodeTimes()
        try:
            entry = await execute(client, prepared, times, display, alive)
        finally:
            peak = memory.stop()
        files = await fetch(client, prepared, entry["outputs"], out)
    result = {
        "workflow": str(workflow),
        "settings": settings,
        "seeds": seeds(prepared.graph),
        "files": files,
        "texts": {title_of(prepared.graph, node): text for node, text in output_texts(entry["outputs"]).items()},
        "seconds": round(time.time() - started, 3),
        "nodes": node_table(prepared.graph, times),
        "peak_memory_bytes": peak,
        "versions": versions(stats),
        "server": server,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return result


async def prepare(
    client: ComfyClient, source: dict[str, Any], settings: dict[str, str], info: dict[str, NodeInfo]
) -> Prepared:
    """The API graph with the settings in it; files are uploaded, outputs get a prefix of their own."""
    ui_graph = source if is_ui_graph(source) else None
    graph = with_titles(to_api(source, info) if ui_graph else source, info)
    missing = missing_node_types(graph, info)
    if missing:
        raise GraphError(
            f"The server {client.url} has no nodes of type {', '.join(missing)}; install their packs or update ComfyUI."
        )
    for address, text in settings.items():
        node, name = find_input(graph, info, address)
        kind, options = input_options(info[graph[node]["class_type"]], graph[node]["inputs"])[name]
        offered = choices(kind, options)
        value = parse_value(text, kind, options, address)
        if offered is not None and Path(text).suffix.lower() in WEIGHT_SUFFIXES:
            if value not in offered:
                raise missing_weights(address, text, offered)
        elif offered is not None and Path(text).suffix and Path(text).is_file():
            refuse_text(graph[node]["class_type"], name, address, Path(text))
            value = await client.upload(Path(text))
        elif offered is not None and value not in offered and looks_like_file(text):
            raise missing_file(address, text)
        set_input(graph, node, name, value)
    prefix = f"bundle3d/{uuid.uuid4().hex[:12]}"
    prefix_outputs(graph, prefix)
    return Prepared(graph, ui_graph, prefix)


def looks_like_file(text: str) -> bool:
    """Whether a choice that is not on offer was meant as the path of a local file."""
    return "/" in text or "\\" in text or Path(text).suffix.lower() in PICTURE_SUFFIXES | MODEL_SUFFIXES


async def execute(
    client: ComfyClient, prepared: Prepared, times: NodeTimes, display: Display, alive: Callable[[], bool]
) -> dict[str, Any]:
    """Queues the graph, follows it to its end and returns its history entry."""
    prompt_id = str(uuid.uuid4())
    connected, finished = asyncio.Event(), asyncio.Event()
    listener = asyncio.create_task(listen(client, prompt_id, prepared.graph, times, display, connected, finished))
    try:
        await wait_for(connected, 5.0)
        await client.queue(prepared.graph, prompt_id, prepared.ui_graph)
        entry = await wait_for_entry(client, prompt_id, finished, alive)
    except asyncio.CancelledError:
        await client.cancel(prompt_id)
        raise
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
    raise_failure(entry, prepared.graph)
    return entry


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Waits for an event at most so long."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return


async def listen(
    client: ComfyClient, prompt_id: str, graph: ApiGraph, times: NodeTimes, display: Display,
    connected: asyncio.Event, finished: asyncio.Event,
) -> None:  # fmt: skip
    """Shows progress and takes times from the server's messages, connecting again where the connection breaks."""
    shares: dict[str, float] = {}  # not every message of a node says how much of it is done
    while True:
        try:
            async for message in client.events():
                connected.set()
                before = times.current
                times.take(message, prompt_id, time.monotonic())
                if times.current != before and before is not None:
                    display.done(f"{title_of(graph, before)}: {times.seconds[before]:.1f} s")
                if times.current is not None:
                    share = share_done(message, prompt_id)
                    if share is not None:
                        shares[times.current] = share
                    display.now(title_of(graph, times.current), shares.get(times.current))
                if message["type"] in ("execution_success", "execution_error", "execution_interrupted"):
                    finished.set()
        except TransportError:
            connected.set()
        await asyncio.sleep(1.0)


def share_done(message: dict[str, Any], prompt_id: str) -> float | None:
    """How much of the running node is done, where the message tells it."""
    data = message.get("data") or {}
    if message["type"] != "progress" or data.get("prompt_id") != prompt_id or not data.get("max"):
        return None
    return float(data["value"]) / float(data["max"])


async def wait_for_entry(
    client: ComfyClient, prompt_id: str, finished: asyncio.Event, alive: Callable[[], bool]
) -> dict[str, Any]:
    """The job's history entry once it is there. The history, not the messages, decides: messages can be lost."""
    lost = 0
    while True:
        await wait_for(finished, POLL_SECONDS)
        try:
            entry = await client.history(prompt_id)
            if entry is None and not await client.is_queued(prompt_id):
                entry = await client.history(prompt_id)  # it may have ended between the two questions
                if entry is None:
                    raise CancelledError("The job was taken out of the server's queue before it ran.")
            lost = 0
        except TransportError:
            lost += 1
            if lost >= LOST_POLLS or not alive():
                raise
            await asyncio.sleep(POLL_SECONDS)
            continue
        if entry is not None:
            return entry
        if finished.is_set():
            await asyncio.sleep(0.05)


def raise_failure(entry: dict[str, Any], graph: ApiGraph) -> None:
    """GraphError with the node and its message where the job failed, Cancelled where it was interrupted."""
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        return
    for kind, data in status.get("messages") or []:
        if kind == "execution_interrupted":
            raise CancelledError(f"The job was cancelled in {title_of(graph, str(data.get('node_id')))!r}.")
        if kind == "execution_error":
            message = str(data.get("exception_message", "")).strip()
            raise GraphError(f"{title_of(graph, str(data.get('node_id')))!r} failed: {message}")
    raise GraphError("The job failed, and the server did not say why; see its log.")


async def fetch(client: ComfyClient, prepared: Prepared, outputs: dict[str, Any], out: Path) -> list[dict[str, Any]]:
    """Downloads every output file; saved ones keep their name, a taken name gets the node's id and a count in front.

    The previews of the run before are removed: their names are new in every run.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_previews(out)
    rows = []
    taken: set[str] = set()
    for file in output_files(outputs):
        folder = out / "previews" if file.is_preview else out
        target = folder / free_name(safe_name(file.filename), safe_name(file.node), folder, taken)
        content = await client.view(file.filename, file.subfolder, file.folder)
        folder.mkdir(exist_ok=True)
        target.write_bytes(content)
        title = title_of(prepared.graph, file.node)
        rows.append(
            {"file": target.relative_to(out).as_posix(), "node": title, "kind": file.kind, "bytes": len(content)}
        )
    return rows


def remove_previews(out: Path) -> None:
    """Removes the previews that ``out/result.json`` lists."""
    try:
        rows = json.loads((out / "result.json").read_text(encoding="utf-8"))["files"]
        names = [str(row["file"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in names:
        if name.startswith("previews/"):
            (out / "previews" / safe_name(name)).unlink(missing_ok=True)


def free_name(name: str, node: str, folder: Path, taken: set[str]) -> str:
    """The name, changed where ``taken`` holds it already, and added there; upper and lower case are one name."""
    names = itertools.chain([name, f"{node}-{name}"], (f"{node}-{count}-{name}" for count in itertools.count(2)))
    free = next(choice for choice in names if str(folder / choice).casefold() not in taken)
    taken.add(str(folder / free).casefold())
    return free


def safe_name(name: str) -> str:
    """The name without any folder, so that a server cannot write elsewhere."""
    bare = name.replace("\\", "/").split("/")[-1].replace(":", "_")
    return bare if bare not in ("", ".", "..") else "output"


def node_table(graph: ApiGraph, times: NodeTimes) -> list[dict[str, Any]]:
    """One row per node that ran or came from the cache, slowest first."""
    rows = [
        {"node": title_of(graph, key), "id": key, "seconds": round(seconds, 3), "cached": False}
        for key, seconds in sorted(times.seconds.items(), key=lambda item: -item[1])
    ]
    cached = sorted(times.cached - set(times.seconds))
    return rows + [{"node": title_of(graph, key), "id": key, "seconds": 0.0, "cached": True} for key in cached]


def pack_version() -> str:
    """The pack's version; pyproject.toml is its one source, and always beside the code."""
    text = (PACK / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    return found[1] if found else "unknown"


def versions(stats: dict[str, Any]) -> dict[str, str]:
    """The versions that decide a result."""
    system = stats.get("system") or {}
    return {
        "bundle3d": pack_version(),
        "comfyui": str(system.get("comfyui_version")),
        "python": str(system.get("python_version", "")).split(" ")[0],
        "torch": str(system.get("pytorch_version")),
        "os": str(system.get("os")),
        "device": ", ".join(str(device.get("name")) for device in stats.get("devices") or []),
    }
