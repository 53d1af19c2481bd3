"""A training loop that is seeded, resumes from where it broke off and keeps its log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import Bundle3DError
from ..progress import Progress, silent
from .optimizer import Optimizer
from .whole_file import whole_file

STATE = "state.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class LoopOptions:
    """Steps in all, learning rate at its peak, steps of linear warm-up, and what is averaged and kept how often.

    The learning rate falls to zero along a cosine. ``average`` is the decay of the running average of the weights, of
    which none is kept where it is 0.
    """

    steps: int
    learning_rate: float
    warmup: int = 200
    average: float = 0.999
    weight_decay: float = 0.01
    clip: float = 1.0
    log_every: int = 50
    save_every: int = 1000

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rising = min(1.0, (step + 1) / max(self.warmup, 1))
        return self.learning_rate * rising * 0.5 * (1.0 + math.cos(math.pi * min(step / self.steps, 1.0)))


class WeightAverage:
    """Exponential running average of the trainable weights of a module, in float32."""

    def __init__(self, module: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {
            name: weight.detach().float().clone() for name, weight in module.named_parameters() if weight.requires_grad
        }

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        """Takes in the weights after a step; early on the average follows more closely."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        now = [weight.detach().float() for weight in module.parameters() if weight.requires_grad]
        torch._foreach_lerp_(list(self.weights.values()), now, 1.0 - decay)


def train(
    module: torch.nn.Module,
    loss: Callable[[int, torch.Generator], torch.Tensor],
    folder: Path,
    options: LoopOptions,
    seed: int = 0,
    progress: Progress = silent,
    after_step: Callable[[int], None] | None = None,
    is_hidden: Callable[[str], bool] | None = None,
) -> dict[str, torch.Tensor]:
    """Minimises ``loss(step, generator)`` over the trainable weights of ``module``; returns their running average.

    That is empty where ``options`` want none. Every step has a generator of its own, made from ``seed`` and the step,
    so that a run that broke off goes on as if it had not. ``folder`` gets the state and the log. ``after_step(step)``
    is called after every step, for validation. Matrices whose names ``is_hidden`` takes are trained by Muon, all else
    by AdamW. Raises Bundle3DError where the loss is no longer finite or the state belongs to another model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = Optimizer(module, options.weight_decay, is_hidden)
    average = WeightAverage(module, options.average) if options.average else None
    first = _resume(folder / STATE, module, optimizer, average)
    _cut_log(folder / LOG, first)
    began, total, count = time.perf_counter(), 0.0, 0
    for step in range(first, options.steps):
        value = loss(step, torch.Generator().manual_seed(seed * 1_000_003 + step))
        amount = float(value.detach())
        if not math.isfinite(amount):
            raise Bundle3DError(f"The training loss is no longer finite at step {step + 1}; lower the learning rate.")
        value.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.weights, options.clip)
        optimizer.step(options.rate(step))
        if average is not None:
            average.update(module, step)
        total, count = total + amount, count + 1
        done = step + 1
        if done % options.log_every == 0 or done == options.steps:
            mean, seconds = total / count, time.perf_counter() - began
            _log(folder / LOG, step=done, loss=mean, rate=options.rate(step), seconds=seconds)
            total, count = 0.0, 0
        saves = done % options.save_every == 0 or done == options.steps
        if saves:
            _save(folder / STATE, done, module, optimizer, average)
        try:
            if after_step is not None:
                after_step(done)
            progress(done, options.steps)
        except BaseException:  # cancelled, or out of memory while drawing: the step itself is whole
            if not saves:
                _save(folder / STATE, done, module, optimizer, average)
            raise
    return {} if average is None else average.weights


def train_to_average(
    module: torch.nn.Module,
    loss: Callable[[int, torch.Generator], torch.Tensor],
    folder: Path,
    options: LoopOptions,
    seed: int = 0,
    progress: Progress = silent,
    is_hidden: Callable[[str], bool] | None = None,
) -> None:
    """As ``train``, and leaves ``module`` with the running average of its weights, ready to compute."""
    module.train()
    _put(module, train(module, loss, folder, options, seed, progress, is_hidden=is_hidden))
    module.eval()


def _put(module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copies ``weights`` into the trainable ones of ``module``."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.requires_grad:
                weight.copy_(weights[name])


def _log(path: Path, **entry: float) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps({name: round(value, 8) for name, value in entry.items()}) + "\n")


def _cut_log(path: Path, step: int) -> None:
    """Drops what a run that was killed had logged after the state from which it goes on."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8", newline="\n")


def _save(path: Path, step: int, module: torch.nn.Module, optimizer: Optimizer, average: WeightAverage | None) -> None:
    trained = {name: weight.detach() for name, weight in module.named_parameters() if weight.requires_grad}
    averaged = {} if average is None else average.weights
    state = {"step": step, "weights": trained, "optimizer": optimizer.state_dict(), "average": averaged}
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)


def _resume(path: Path, module: torch.nn.Module, optimizer: Optimizer, average: WeightAverage | None) -> int:
    """Loads what an earlier call left at ``path``; returns the number of steps that are done."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    trained = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    if {name: weight.shape for name, weight in state["weights"].items()} != {n: w.shape for n, w in trained.items()}:
        raise Bundle3DError(f"The training state {path} belongs to another model; remove it or choose another folder.")
    _put(module, state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    if average is not None:
        average.weights = state["average"]
    return int(state["step"])
