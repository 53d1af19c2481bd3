"""What this machine has for models: memory, accelerator, disk."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch


@dataclass(frozen=True)
class Machine:
    """Memory in bytes. ``device`` is torch's name of the device to compute on; ``gpu_*`` are 0 without a GPU.

    ``shared`` says that the device works in the RAM itself, as on Apple silicon.
    """

    system: str
    cores: int
    ram: int
    free_ram: int
    device: str = "cpu"
    device_name: str = ""
    gpu: int = 0
    free_gpu: int = 0
    shared: bool = False


def this_machine() -> Machine:
    """What is there at this moment."""
    memory = psutil.virtual_memory()
    system, cores = f"{platform.system()} {platform.machine()}", os.cpu_count() or 1
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Machine(system, cores, memory.total, memory.available, "cuda", name, total, free)
    if torch.backends.mps.is_available():
        return Machine(system, cores, memory.total, memory.available, "mps", "Apple GPU", shared=True)
    return Machine(system, cores, memory.total, memory.available)


def free_disk(folder: Path) -> int:
    """Bytes free where ``folder`` is, or will be."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return shutil.disk_usage(there).free
