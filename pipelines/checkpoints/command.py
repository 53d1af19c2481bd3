"""``bundle3d models``: what is there of the checkpoints, what is missing and where it goes, what will fit."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..comfyui_folder import find_comfyui
from ..errors import Bundle3DError
from .registry import REGISTRY

EXIT_CODES = """exit codes:
  0    all that the stage needs is there; without --stage: always
  1    something is missing or not whole
  2    the call is wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--stage", choices=list(REGISTRY.stages), help="plan this stage; without it all checkpoints are listed"
    )
    parser.add_argument(
        "--models-dir", type=Path, action="append", default=[], metavar="DIR",
        help="ComfyUI's models folder; can be given several times. Without it the one of the ComfyUI that is found",
    )  # fmt: skip
    parser.add_argument("--verify", action="store_true", help="read every byte and compare the hashes that are known")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def models(stage: str | None, models_dirs: Sequence[Path], verify: bool, as_json: bool) -> int:
    """Prints the plan of a stage, or the state of every checkpoint; returns the exit code.

    Raises Bundle3DError where a models folder does not exist.
    """
    # Imported here, because these import torch, which `bundle3d run` can do without.
    from .machine import this_machine
    from .plan import plan
    from .presence import ModelFiles, look_for, model_folders
    from .report import overview_text, plan_json, plan_text, presence_json

    for folder in models_dirs:
        if not folder.is_dir():
            raise Bundle3DError(f"Expected ComfyUI's models folder, but {folder} is no folder; correct --models-dir.")
    folders = model_folders(models_dirs or [find_comfyui() / "models"])
    progress = Percent()
    if stage is not None:
        planned = plan(stage, folders, verify=verify, progress=progress)
        print(json.dumps(plan_json(planned), indent=1) if as_json else plan_text(planned))
        return 0 if planned.ready else 1
    files = ModelFiles(folders)
    found = [look_for(checkpoint, files, verify, progress) for checkpoint in REGISTRY.checkpoints]
    machine = this_machine()
    listed = {"machine": vars(machine), "checkpoints": [presence_json(presence) for presence in found]}
    print(json.dumps(listed, indent=1) if as_json else overview_text(found, machine))
    return 0


class Percent:
    """Progress as a percentage on a terminal, and nothing where the output goes elsewhere."""

    def __call__(self, done: int, total: int, preview: object = None) -> None:
        if sys.stderr.isatty():
            print(
                f"\rreading {100 * done // max(total, 1)} %", end="\r" if done < total else "\r\033[K", file=sys.stderr
            )
