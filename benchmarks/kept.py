"""What the stages of a benchmark's objects made and took, kept so that a run that broke off goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from bundle3d.benchmarks import measure
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.write import write_mesh
from bundle3d.pipelines.training.dataset import save_image
from bundle3d.pipelines.training.whole_file import whole_file
from PIL import Image

Made = TypeVar("Made")


class Kept:
    """The files of one object in ``folder``, and what the stages that made them took: seconds, those of the processor,
    which count where other programs run beside it, and the peak of memory.

    A stage is not done again where its file is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._record = folder / "stages.json"
        self.stages: dict[str, dict[str, Any]] = {}
        if self._record.is_file():
            self.stages = json.loads(self._record.read_text(encoding="utf-8"))

    def picture(self, stage: str, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The picture (H, W, 3 or 4) in [0, 1] of a stage, in 8 bits."""
        path = self._kept(self.folder / f"{stage}.png", stage, lambda path: save_image(make(), path))
        with Image.open(path) as picture:
            return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255.0)

    def mesh(self, stage: str, make: Callable[[], Mesh]) -> Mesh:
        """The mesh of a stage as its GLB file has it."""
        return read_mesh(self._kept(self.folder / f"{stage}.glb", stage, lambda path: write_mesh(make(), path)))

    def measured(self, stage: str, make: Callable[[], Made]) -> Made:
        """What a stage makes that is too quick to keep."""
        wall, processor = time.perf_counter(), time.process_time()
        with measure.track_peak() as memory:
            made = make()
        figures = {
            "seconds": round(time.perf_counter() - wall, 2),
            "cpu_seconds": round(time.process_time() - processor, 2),
            "peak_mb": memory["peak"] >> 20,
        }
        self.stages.setdefault(stage, figures)
        with whole_file(self._record) as unfinished:
            unfinished.write_text(json.dumps(self.stages, indent=2) + "\n", encoding="utf-8")
        return made

    def _kept(self, path: Path, stage: str, write: Callable[[Path], Any]) -> Path:
        if not path.is_file() or stage not in self.stages:
            self.stages.pop(stage, None)
            self.measured(stage, lambda: write(path))
        return path
