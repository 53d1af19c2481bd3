"""What a finished job's history entry says of its failure."""

from __future__ import annotations

from typing import Any

import pytest
from bundle3d.pipelines.runner.client import CancelledError, GraphError
from bundle3d.pipelines.runner.run import raise_failure

GRAPH: dict[str, Any] = {"4": {"class_type": "Make", "inputs": {}, "_meta": {"title": "Make a mesh"}}}


def entry(status: str, *messages: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {"status": {"status_str": status, "messages": [("execution_start", {}), *messages]}}


def test_success_is_no_failure() -> None:
    raise_failure(entry("success"), GRAPH)


def test_a_failing_node_is_named_with_its_message() -> None:
    failed = entry("error", ("execution_error", {"node_id": "4", "exception_message": "Expected a mesh.\n"}))
    with pytest.raises(GraphError, match=r"^'Make a mesh' failed: Expected a mesh\.$"):
        raise_failure(failed, GRAPH)


def test_a_part_of_an_expanded_node_goes_by_the_nodes_title() -> None:
    failed = entry("error", ("execution_error", {"node_id": "4.0.7", "exception_message": "no"}))
    with pytest.raises(GraphError, match=r"^'Make a mesh' failed: no$"):
        raise_failure(failed, GRAPH)


def test_an_interruption_is_no_failure_of_the_graph() -> None:
    with pytest.raises(CancelledError, match="cancelled in 'Make a mesh'"):
        raise_failure(entry("error", ("execution_interrupted", {"node_id": "4"})), GRAPH)


@pytest.mark.parametrize("told", [{}, {"status": None}, entry("error")])
def test_a_failure_without_words_points_to_the_log(told: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="did not say why; see its log"):
        raise_failure(told, GRAPH)
