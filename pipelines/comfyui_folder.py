"""Where the ComfyUI lies that belongs to this pack."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import Bundle3DError

PACK = Path(__file__).resolve().parents[1]


def find_comfyui() -> Path:
    """The ComfyUI to start: what COMFYUI_PATH names, the one that holds this pack, or what bootstrap.py fetched."""
    named = os.environ.get("COMFYUI_PATH")
    candidates = [Path(named)] if named else [PACK.parents[1], PACK / ".comfyui"]
    for folder in candidates:
        if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
            return folder.resolve()
    if named:
        raise Bundle3DError(
            f"COMFYUI_PATH should name a ComfyUI folder with main.py, but it names {named}; correct it."
        )
    raise Bundle3DError(
        "No ComfyUI was found: set COMFYUI_PATH to its folder, run `python bootstrap.py setup` in the Bundle3D folder, "
        "or name a running server with --server."
    )
