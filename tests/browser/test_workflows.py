"""The shipped workflows in the real frontend: they load whole, and their API twins are what it would run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"


def test_api_twins_are_what_the_frontend_makes_of_the_workflows(comfy_page: Page) -> None:
    files = sorted(WORKFLOWS.glob("*.json"))
    assert [file.name for file in files] == sorted(file.name for file in (WORKFLOWS / "api").glob("*.json"))
    for file in files:
        workflow, twin = (json.loads(path.read_text("utf-8")) for path in (file, WORKFLOWS / "api" / file.name))
        made = comfy_page.evaluate(
            "async workflow => { await app.loadGraphData(workflow); return (await app.graphToPrompt()).output; }",
            workflow,
        )
        assert made == twin, file.name
        assert comfy_page.evaluate("() => app.graph._nodes.every(node => node.type in LiteGraph.registered_node_types)")
    assert [error for error in comfy_page.errors if "bundle3d" in error.lower()] == []  # type: ignore[attr-defined]


def test_workflows_explain_themselves() -> None:
    for file in WORKFLOWS.glob("*.json"):
        nodes = json.loads(file.read_text("utf-8"))["nodes"]
        notes = [node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"]
        assert [node["type"] for node in nodes if not node.get("title")] == [], file.name
        titles = [node["title"] for node in nodes]
        assert len(set(titles)) == len(titles) and "Read me" in titles and {"Save mesh", "Save bundle"} & set(titles)
        steps = [line.split("**")[1] for line in "\n".join(notes).splitlines() if "**" in line]
        assert {step for step in steps if "here" not in step} <= set(titles), file.name
        assert file.with_suffix(".jpg").read_bytes()[:2] == b"\xff\xd8"
