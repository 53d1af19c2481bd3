"""Where the demo family lies: a FLUX folder in diffusers' format, made by ``bundle3d train demo``."""

from __future__ import annotations

from pathlib import Path

DEMO_FOLDER = Path(__file__).resolve().parent / "demo"
