"""What LoRA and ControlNet training share: options, the folder of a run, validation, and going on after a break."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..diffusion.models import BundleModels
from ..errors import Bundle3DError
from ..progress import Progress, silent
from .encoded import EncodedDataset
from .loop import LOG, LoopOptions, train
from .loss_curve import draw_loss_curve
from .validation import Sample, draw_samples

SETTINGS = "run.json"
CURVE = "loss.png"
# What may differ when a run goes on.
FREE = ("steps", "validate_every", "validation_steps", "save_every", "log_every", "checkpointing")


@dataclass(frozen=True)
class FineTuneOptions:
    """How an adapter is trained.

    The learning rate is constant after ``warmup`` steps, so that a run can go on with more ``steps``; where it is
    ``falling``, it ends at zero along a cosine, and their number is fixed. ``guidance`` is what the transformer is told
    while it learns. ``checkpointing`` computes blocks anew for their gradients, which takes a third more time and a
    small part of the memory.
    """

    steps: int = 1000
    batch: int = 4
    learning_rate: float = 8e-4
    warmup: int = 0
    guidance: float = 1.0
    validate_every: int = 250
    validation_steps: int = 20
    save_every: int = 100
    log_every: int = 10
    checkpointing: bool = True
    seed: int = 0
    falling: bool = False

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "validation_steps", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise Bundle3DError(f"Expected {name} to be at least 1, but got {getattr(self, name)}; raise it.")
        if not self.learning_rate > 0.0:
            raise Bundle3DError(f"Expected a positive learning rate, but got {self.learning_rate}; try 8e-4.")


@dataclass(frozen=True)
class ConstantRate(LoopOptions):
    """A learning rate that does not fall after warm-up."""

    def rate(self, step: int) -> float:
        return self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))


def fine_tune(
    module: torch.nn.Module,
    loss: Callable[[int, torch.Generator], torch.Tensor],
    save: Callable[[], None],
    models: BundleModels,
    data: EncodedDataset,
    samples: Sequence[Sample],
    run: Path,
    options: FineTuneOptions,
    progress: Progress = silent,
) -> None:
    """Trains the weights of ``module`` that have gradients, going on from the state in ``run``.

    Every ``validate_every`` steps and at the end it calls ``save``, draws ``samples`` and the loss curve into the
    folder.
    """
    saved_at = -1

    def after_step(done: int) -> None:
        nonlocal saved_at
        if done % options.validate_every == 0 or done == options.steps:
            save()
            saved_at = done
            draw_samples(models, samples, (data.height, data.width), options.validation_steps, options.seed, run, done)
            draw_loss_curve(run / LOG, run / CURVE)

    schedule = LoopOptions if options.falling else ConstantRate
    loop = schedule(
        steps=options.steps,
        learning_rate=options.learning_rate,
        warmup=options.warmup,
        average=0.0,
        weight_decay=0.0,
        log_every=options.log_every,
        save_every=options.save_every,
    )
    train(module, loss, run, loop, options.seed, progress, after_step)
    if saved_at != options.steps:  # a run that had been at its end already
        save()


def keep_settings(run: Path, kind: str, options: FineTuneOptions, about: dict[str, Any]) -> None:
    """Notes in the run's folder what is trained how.

    Raises Bundle3DError where the folder holds a run of something else, which would not go on but become a mixture.
    """
    run.mkdir(parents=True, exist_ok=True)
    free = set(FREE) - {"steps"} if options.falling else FREE
    fixed = {name: value for name, value in asdict(options).items() if name not in free}
    wanted = {"kind": kind, **fixed, **about}
    path = run / SETTINGS
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Bundle3DError(f"{path} is damaged ({error}); choose another folder for the run.") from error
        changed = [name for name in wanted if found.get(name) != json.loads(json.dumps(wanted[name]))]
        if changed:
            name = changed[0]
            raise Bundle3DError(
                f"Expected to go on with {name} = {found.get(name)} as the run in {run} began, but got {wanted[name]}; "
                "choose another folder for the run, or the same settings."
            )
    path.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8", newline="\n")
