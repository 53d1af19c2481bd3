"""The nodes' sockets as saved workflows rely on them; run as a script it stores the current ones in schemas.json.

Workflows store widget values and links by position, so sockets (and options) may only be added at the end:
``.venv/bin/python -m bundle3d.tests.nodes.schemas`` extends the file, and refuses anything but additions.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("schemas.json")
LIMITS = ("default", "min", "max", "options")
# Their options are the files of the machine.
FILE_CHOICES = {"model_file", "base", "folder", "transformer", "clip", "t5", "vae", "lora", "language_model"}
FILE_CHOICES |= {"reconstruction_model", "control_net", "style_model", "clip_vision", "image", "captioner", "unet"}
FILE_CHOICES |= {"decoders", "texture_decoder", "image_encoder", "upsampler", "structure_flow", "shape_flow"}
FILE_CHOICES |= {"fine_shape_flow", "texture_flow"}


def sockets(nodes: dict[str, Any]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Inputs and outputs of node classes by id, in order."""
    return {name: _node(nodes[name].GET_SCHEMA()) for name in sorted(nodes)}


def _node(schema: Any) -> dict[str, list[dict[str, Any]]]:
    return {
        "inputs": [{"id": socket.id, "type": socket.get_io_type(), **_limits(socket)} for socket in schema.inputs],
        "outputs": [{"id": socket.id, "type": socket.get_io_type()} for socket in schema.outputs],
    }


def _limits(socket: Any) -> dict[str, Any]:
    names = [name for name in LIMITS if name != "options" or socket.id not in FILE_CHOICES]
    return {name: getattr(socket, name) for name in names if getattr(socket, name, None) is not None}


def changes(stored: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What a saved workflow would trip over: every stored socket that is not where and what it was."""
    found = []
    for name, node in stored.items():
        for kind, before in node.items():
            now = current.get(name, {}).get(kind, [])
            for index, socket in enumerate(before):
                if index >= len(now) or not _keeps(socket, now[index]):
                    found.append(f"{name}.{kind}[{index}]: {socket} became {now[index : index + 1]}")
    return found


def _keeps(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether nothing but further options at the end is new."""
    options = now.get("options")
    return before == (now if options is None else now | {"options": options[: len(before.get("options", []))]})


def main() -> None:
    """Adds what is new to the file."""
    sys.path.append(str(FILE.parents[2] / ".comfyui"))
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()  # read when comfy.model_management is imported
    import bundle3d

    extension = asyncio.run(bundle3d.comfy_entrypoint())
    current = sockets({node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())})
    stored = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    broken = changes(stored, current)
    if broken:
        sys.exit("\n".join(broken))
    FILE.write_text(json.dumps(current, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
