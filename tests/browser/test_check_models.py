"""Check Models in the real frontend: the report stands on the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundle3d.pipelines.runner.server import ComfyServer
from bundle3d.tests.support.browser import frontend

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEXTS = "() => app.graph._nodes.flatMap(node => (node.widgets ?? []).map(widget => String(widget.value)))"


def test_the_report_is_shown_on_the_node(browser: Browser, comfyui: ComfyServer) -> None:
    inputs = {"stage": "Text to 3D", "verify": False}
    graph: dict[str, Any] = {
        "1": {"class_type": "Bundle3D_CheckModels", "inputs": inputs, "_meta": {"title": "Check Models"}}
    }
    with frontend(browser, comfyui.url) as page:
        page.evaluate("graph => app.loadApiJson(graph, 'check')", graph)
        assert not any("To download" in text for text in page.evaluate(TEXTS))
        page.evaluate("() => app.queuePrompt(0)")
        page.wait_for_function(f"() => ({TEXTS})().some(text => text.includes('To download'))", timeout=120_000)
        (report,) = [text for text in page.evaluate(TEXTS) if "To download" in text]
        assert "models/loras/rgb_normal.safetensors" in report
