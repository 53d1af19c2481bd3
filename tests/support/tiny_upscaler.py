"""An upscale model in ESRGAN's format that repeats every pixel, so that what it makes is known."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

FILTERS = 4
PASSING = ("model.0", "model.3", "model.5", "model.7")  # convolutions that hand the three colours on as they are
TRUNK = "model.1.sub.1"  # adds what the residual blocks make


def tiny_upscaler(path: Path, seed: int = 0) -> None:
    """Writes a network that makes pictures twice as large; its one residual block, of random weights, adds nothing."""
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = RRDBNet(in_nc=3, out_nc=3, num_filters=FILTERS, num_blocks=1, scale=2).state_dict()
    for name in (*PASSING, TRUNK):
        state[f"{name}.weight"].zero_()
        state[f"{name}.bias"].zero_()
    for name in PASSING:
        for channel in range(3):
            state[f"{name}.weight"][channel, channel, 1, 1] = 1.0
    save_file(state, path)
