"""Where the demo models lie.

The demo family is a FLUX folder in diffusers' format, made by ``bundle3d train demo``; the demo multi-view model is a
Zero123++ folder, made by ``bundle3d train multiview-demo``; the demo reconstruction model is one file, made by
``bundle3d train lrm-demo``; the demo ControlNet, which is for the demo family, is a folder of diffusers, made by
``bundle3d train controlnet-demo``; the demo Pixal3D family is a folder like the published one, made by
``bundle3d train pixal3d-demo``.
"""

from __future__ import annotations

from pathlib import Path

DEMO_FOLDER = Path(__file__).resolve().parent / "demo"
MULTIVIEW_DEMO_FOLDER = DEMO_FOLDER.with_name("demo_multiview")
DEMO_RECONSTRUCTION_MODEL = DEMO_FOLDER.with_name("demo_lrm") / "model.safetensors"
CONTROLNET_DEMO_FOLDER = DEMO_FOLDER.with_name("demo_controlnet")
DEMO_PIXAL3D_FOLDER = DEMO_FOLDER.with_name("demo_pixal3d")
