"""What is shown of a server's messages."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

from bundle3d.pipelines.runner.client import ComfyClient
from bundle3d.pipelines.runner.run import listen
from bundle3d.pipelines.runner.watch import Display, NodeTimes

GRAPH = {key: {"_meta": {"title": title}} for key, title in (("1", "Generate"), ("2", "Save"))}


class Messages(ComfyClient):
    """A server that sends these messages of the job ``job`` once."""

    def __init__(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.messages = messages

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        for kind, data in self.messages:
            yield {"type": kind, "data": {"prompt_id": "job", **data}}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def shown(messages: list[tuple[str, dict[str, Any]]]) -> list[str]:
    stream, connected, finished = Terminal(), asyncio.Event(), asyncio.Event()
    heard = listen(Messages(messages), "job", GRAPH, NodeTimes(), Display(stream), connected, finished)
    task = asyncio.create_task(heard)
    await asyncio.wait_for(finished.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert connected.is_set()
    return [line.split("] ", 1)[1].split(": ")[0].strip() for line in stream.getvalue().split("\r\x1b[K") if line]


def test_the_share_that_is_done_stays_until_the_next_node() -> None:
    """ComfyUI sends progress_state beside every progress, and previews in between."""
    lines = asyncio.run(
        shown(
            [
                ("executing", {"node": "1"}),
                ("progress", {"value": 1, "max": 4}),
                ("progress_state", {"nodes": {}}),
                ("executing", {"node": "2"}),
                ("execution_success", {}),
            ]
        )
    )
    assert lines == ["Generate", "Generate  25%", "Generate  25%", "Generate", "Save", "Save"]
