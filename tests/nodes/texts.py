"""The texts of the nodes in the form of ComfyUI's locale files; run as a script it writes the English one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

LOCALE = Path(__file__).resolve().parents[2] / "locales" / "en" / "nodeDefs.json"


def node_texts(nodes: dict[str, Any]) -> dict[str, Any]:
    """What nodeDefs.json has to hold for node classes by id."""
    return {name: _texts(nodes[name].GET_SCHEMA()) for name in sorted(nodes)}


def _texts(schema: Any) -> dict[str, Any]:
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": {i.id: {"name": i.display_name or i.id, "tooltip": i.tooltip} for i in schema.inputs},
        "outputs": {
            str(index): {"name": o.display_name, "tooltip": o.tooltip} for index, o in enumerate(schema.outputs)
        },
    }


def main() -> None:
    import bundle3d

    extension = asyncio.run(bundle3d.comfy_entrypoint())
    nodes = {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}
    LOCALE.parent.mkdir(parents=True, exist_ok=True)
    LOCALE.write_text(json.dumps(node_texts(nodes), indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
