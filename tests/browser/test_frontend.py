"""The real frontend starts with this pack in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_frontend_starts_without_errors_of_ours(comfy_page: Page) -> None:
    assert comfy_page.evaluate("() => Object.keys(LiteGraph.registered_node_types).includes('SaveGLB')")
    assert comfy_page.evaluate("() => document.createElement('canvas').getContext('webgl2') !== null")
    assert [error for error in comfy_page.errors if "bundle3d" in error.lower()] == []  # type: ignore[attr-defined]
