"""Which folders the loading nodes offer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle3d.tests.support.tiny_zero123plus import save_tiny_folder


def test_only_folders_of_zero123plus_are_offered_for_views(tiny_folder: Path, nodes: dict[str, Any]) -> None:
    folder = tiny_folder / "diffusers"
    save_tiny_folder(folder / "zero")
    (folder / "odd").mkdir()
    (folder / "odd" / "model_index.json").write_text("[", encoding="utf-8")
    assert nodes["Bundle3D_LoadMultiviewModels"].define_schema().inputs[0].options == ["Bundle3D demo", "zero"]
    assert "tiny" in nodes["Bundle3D_LoadBundleModels"].define_schema().inputs[0].options
