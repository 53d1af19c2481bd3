"""The client's own rules, against answers of a server that is not there."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from bundle3d.pipelines.runner.client import ComfyClient, GraphError

WIDTH = {"message": "Value 0 smaller than min of 1", "details": "width"}


class Answers(ComfyClient):
    """Answers by path, with a note of what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        self.asked.append((path, options.get("json")))
        return json.dumps(self.answers.get(path, {})).encode()


def test_a_graph_that_is_taken_is_left_alone() -> None:
    client = Answers({"/prompt": {"prompt_id": "1", "number": 0, "node_errors": {}}})
    asyncio.run(client.queue({}, "1"))
    assert [path for path, _ in client.asked] == ["/prompt"]


def test_a_graph_that_is_taken_in_part_is_taken_back() -> None:
    errors = {"4": {"class_type": "EmptyImage", "errors": [WIDTH, WIDTH]}}
    client = Answers({"/prompt": {"node_errors": errors}, "/queue": {"queue_running": [], "queue_pending": []}})
    words = "refuses a part of the graph:\n  node 4 (EmptyImage): Value 0 smaller than min of 1: width"
    with pytest.raises(GraphError) as caught:
        asyncio.run(client.queue({}, "1"))
    assert str(caught.value) == f"ComfyUI {words}"
    assert ("/queue", {"delete": ["1"]}) in client.asked
    assert ("/interrupt", {"prompt_id": "1"}) in client.asked
