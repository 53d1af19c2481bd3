"""The demo models that are shipped: together no larger than a repository should hold."""

from __future__ import annotations

from bundle3d.pipelines.checkpoints import demo_folder

MOST_BYTES = 40_000_000


def test_all_demo_models_together_stay_small() -> None:
    family = demo_folder.DEMO_FOLDER
    folders = [path for path in family.parent.iterdir() if path.is_dir() and path.name.startswith(family.name)]
    others = (demo_folder.MULTIVIEW_DEMO_FOLDER, demo_folder.CONTROLNET_DEMO_FOLDER, demo_folder.DEMO_PIXAL3D_FOLDER)
    assert {family, *others} <= set(folders)
    assert sum(path.stat().st_size for folder in folders for path in (folder, *folder.rglob("*"))) <= MOST_BYTES
