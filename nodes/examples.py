"""The example inputs of the shipped workflows, put where ComfyUI's loaders look for them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import folder_paths

logger = logging.getLogger(__name__)

EXAMPLES = Path(__file__).resolve().parents[1] / "workflows" / "inputs"


def install() -> None:
    """Copy each example into ComfyUI's input folder, unless a file of that name is there already."""
    target = Path(folder_paths.get_input_directory())
    for source in sorted(path for path in EXAMPLES.rglob("*") if path.is_file()):
        copy = target / source.relative_to(EXAMPLES)
        try:
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
        except OSError as error:
            logger.warning("Bundle3D: could not put the example %s into the input folder: %s", source.name, error)
