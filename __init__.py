"""Bundle3D: photoreal, usable 3D assets from text, photos or meshes, as ComfyUI nodes."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> Any:
    """The extension that ComfyUI loads."""
    from .nodes import Bundle3DExtension

    return Bundle3DExtension()
