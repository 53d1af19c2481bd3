"""Starts ComfyUI: ``python launch_comfyui.py <ComfyUI folder> <ComfyUI arguments>``; a script, run by path.

On Linux the torchvision wheel of the package index is linked against CUDA. Beside a CPU build of torch its compiled
operators cannot load, and importing it then fails because it describes operators that nobody has defined. ComfyUI
needs none of these operators on a CPU, so their schemas alone are enough.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def define_missing_operators() -> torch.library.Library | None:
    """Defines torchvision's schemas where its compiled part does not load; the returned library must be kept alive."""
    spec = importlib.util.find_spec("torchvision")
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return None
    compiled = sorted(Path(spec.origin).parent.glob("_C*.so"))
    try:
        for path in compiled:
            torch.ops.load_library(str(path))
    except OSError:
        compiled = []
    if compiled:
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library


def main() -> None:
    """Runs ComfyUI's main.py as if it had been started by itself."""
    folder, *arguments = sys.argv[1:]
    accelerator = torch.accelerator.is_available() if hasattr(torch, "accelerator") else torch.cuda.is_available()
    if not accelerator and "--cpu" not in arguments:
        arguments.append("--cpu")
    main_file = Path(folder) / "main.py"
    sys.path[0] = str(main_file.parent)
    sys.argv = [str(main_file), *arguments]
    runpy.run_path(str(main_file), run_name="__main__")


if __name__ == "__main__":
    library = define_missing_operators()
    main()
