"""Every node explains itself: tooltips, aliases, help pages, and locales that match the schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundle3d.nodes import NODE_FILES

from .texts import node_texts

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("en", "zh")


def test_every_node_file_loads(nodes: dict[str, Any]) -> None:
    assert len(nodes) >= len(NODE_FILES)
    assert all(name.startswith("Bundle3D_") for name in nodes)
    assert {path.stem for path in (ROOT / "nodes").glob("*.py") if "\nNODES = " in path.read_text("utf-8")} == set(
        NODE_FILES
    )


def test_schemas_explain_every_input_and_output(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        schema = node.GET_SCHEMA()
        assert schema.display_name and schema.description and schema.search_aliases, name
        assert schema.category.startswith("Bundle3D/"), name
        for socket in [*schema.inputs, *schema.outputs]:
            assert socket.tooltip and socket.tooltip.endswith("."), f"{name}.{socket.id}"


def test_widgets_have_defaults_that_pass_their_own_check(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        for widget in node.GET_SCHEMA().inputs:
            default = getattr(widget, "default", None)
            if getattr(widget, "options", None):
                assert default is None or default in widget.options, f"{name}.{widget.id}"
            elif getattr(widget, "min", None) is not None:
                assert widget.min <= default <= widget.max, f"{name}.{widget.id}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_locales_cover_exactly_the_schemas(nodes: dict[str, Any], language: str) -> None:
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
    expected = node_texts(nodes)
    assert _paths(texts) == _paths(expected)
    if language == "en":
        assert texts == expected, "run tests/nodes/texts.py to write the English texts from the schemas again"
    else:
        assert all(not value.isascii() or not any(c.isalpha() for c in value) for value in _sentences(texts))


def test_every_node_has_help_in_both_languages_that_names_its_widgets(nodes: dict[str, Any]) -> None:
    for name, node in nodes.items():
        for page in (ROOT / "web/docs" / f"{name}.md", ROOT / "web/docs" / name / "zh.md"):
            text = page.read_text("utf-8")
            for socket in [*node.GET_SCHEMA().inputs, *node.GET_SCHEMA().outputs]:
                assert f"`{socket.id}`" in text, f"{page} does not mention {socket.id}"


def _paths(texts: Any, prefix: str = "") -> set[str]:
    if isinstance(texts, str):
        return {prefix}
    return {path for key, value in texts.items() for path in _paths(value, f"{prefix}/{key}")}


def _sentences(texts: Any) -> list[str]:
    """The tooltips and descriptions in a tree of texts."""
    found = [value for key, value in texts.items() if key in ("tooltip", "description") and isinstance(value, str)]
    return found + [sentence for value in texts.values() if isinstance(value, dict) for sentence in _sentences(value)]
