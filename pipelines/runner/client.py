"""A small client for ComfyUI's HTTP and websocket interface."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from ..errors import Bundle3DError

ApiGraph = dict[str, dict[str, Any]]  # node id -> {"class_type", "inputs", "_meta"}
MODEL_SUFFIXES = {".glb", ".gltf", ".obj", ".ply", ".stl", ".fbx"}
CANCEL_ATTEMPTS, CANCEL_INTERVAL = 20, 0.25  # seconds between two attempts


class GraphError(Bundle3DError):
    """The graph itself is refused or fails; running it again gives the same."""


class TransportError(Bundle3DError):
    """The server cannot be reached or went away; running again may help."""


class CancelledError(Bundle3DError):
    """The job was interrupted."""


class ComfyClient:
    """One connection to a ComfyUI server; use it in an ``async with`` statement. url: such as http://127.0.0.1:8188."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.client_id = uuid.uuid4().hex
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ComfyClient:
        # aiohttp heeds no proxy settings of the environment (trust_env), which is right for a server on this machine.
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=120))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()
        self._session = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("ComfyClient is used outside of its `async with` block")
        return self._session

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        """The body of an answer; GraphError on a refusal (4xx), TransportError where the server fails or is away."""
        try:
            async with self.session.request(method, self.url + path, **options) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(
                f"The ComfyUI server {self.url} does not answer ({error}); start it or correct --server."
            ) from error
        if response.status >= 500:
            raise TransportError(f"{self.url}{path} failed with HTTP {response.status}; see the server's log.")
        if response.status >= 400:
            raise GraphError(refusal(body, f"{self.url}{path} refused with HTTP {response.status}"))
        return body

    async def get_json(self, path: str) -> Any:
        """The decoded JSON answer of a GET request."""
        return self._decode(path, await self.request("GET", path))

    def _decode(self, path: str, body: bytes) -> Any:
        try:
            return json.loads(body)
        except ValueError as error:
            raise TransportError(f"{self.url}{path} did not answer with JSON; is it a ComfyUI server?") from error

    async def upload(self, path: Path) -> str:
        """Puts a local file into the server's input folder and returns the name by which nodes know it.

        The name holds a hash of the content, so the same file is found in the cache and another one never replaces it.
        """
        content = path.read_bytes()
        name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}{path.suffix}"
        form = aiohttp.FormData()
        form.add_field("image", content, filename=name)
        form.add_field("type", "input")
        form.add_field("overwrite", "true")
        if path.suffix.lower() in MODEL_SUFFIXES:
            form.add_field("subfolder", "3d")
        answer = self._decode("/upload/image", await self.request("POST", "/upload/image", data=form))
        return f"{answer['subfolder']}/{answer['name']}" if answer.get("subfolder") else str(answer["name"])

    async def queue(self, graph: ApiGraph, prompt_id: str, ui_graph: dict[str, Any] | None = None) -> None:
        """Queues the graph under an id of the caller's choice; GraphError says which node refuses what.

        The server runs a graph without the outputs that it refuses; here the whole graph is refused then.
        """
        job: dict[str, Any] = {"prompt": graph, "prompt_id": prompt_id, "client_id": self.client_id}
        if ui_graph is not None:
            job["extra_data"] = {"extra_pnginfo": {"workflow": ui_graph}}
        answer = self._decode("/prompt", await self.request("POST", "/prompt", json=job))
        if answer.get("node_errors"):
            await self.cancel(prompt_id)
            lines = ["ComfyUI refuses a part of the graph:", *refused_inputs(answer["node_errors"])]
            raise GraphError("\n".join(lines))

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        """The finished job's entry, None while it waits or runs."""
        answer = await self.get_json(f"/history/{prompt_id}")
        entry: dict[str, Any] | None = answer.get(prompt_id)
        return entry

    async def is_queued(self, prompt_id: str) -> bool:
        """Whether the job waits or runs."""
        queue = await self.get_json("/queue")
        return any(item[1] == prompt_id for item in queue["queue_running"] + queue["queue_pending"])

    async def cancel(self, prompt_id: str) -> None:
        """Takes the job out of the queue, or interrupts it where it runs; other jobs are left alone.

        The server forgets an interruption that reaches it just as the job starts, so it is asked until the job is gone
        or ``CANCEL_ATTEMPTS`` are spent.
        """
        for _ in range(CANCEL_ATTEMPTS):
            await self.request("POST", "/queue", json={"delete": [prompt_id]})
            await self.request("POST", "/interrupt", json={"prompt_id": prompt_id})
            if not await self.is_queued(prompt_id):
                return
            await asyncio.sleep(CANCEL_INTERVAL)

    async def view(self, filename: str, subfolder: str, folder: str) -> bytes:
        """The bytes of an output file; folder is output, temp or input."""
        return await self.request("GET", "/view", params={"filename": filename, "subfolder": subfolder, "type": folder})

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """The server's messages for this client, until the connection ends; TransportError where it cannot be made."""
        try:
            address = f"{self.url}/ws?clientId={self.client_id}"
            async with self.session.ws_connect(address, max_msg_size=0) as socket:
                yield {"type": "connected", "data": {}}
                async for message in socket:
                    if message.type == aiohttp.WSMsgType.TEXT:
                        yield json.loads(message.data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TransportError(f"The connection to {self.url} broke ({error}).") from error


def refusal(body: bytes, otherwise: str) -> str:
    """The server's refusal of a graph in readable lines."""
    try:
        answer = json.loads(body)
        error, node_errors = answer["error"], answer.get("node_errors") or {}
    except (ValueError, KeyError, TypeError):
        return f"{otherwise}: {body[:300].decode(errors='replace')}"
    if isinstance(error, str):
        return f"ComfyUI refuses the graph: {error}"
    lines = refused_inputs(node_errors)
    if not lines and error.get("details"):
        lines.append(f"  {error['details']}")
    return "\n".join([f"ComfyUI refuses the graph: {error.get('message')}", *lines])


def refused_inputs(node_errors: dict[str, Any]) -> list[str]:
    """A line for everything that the server refuses about nodes."""
    lines = [
        f"  node {node_id} ({problem.get('class_type')}): {item.get('message')}: {item.get('details')}"
        for node_id, problem in node_errors.items()
        for item in problem.get("errors", [])
    ]
    return list(dict.fromkeys(lines))
