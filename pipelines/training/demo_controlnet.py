"""The demo union ControlNet from nothing but the demo family: bundles, their control pictures, training.

What it is shown is called by shape and colour alone, so that pose, size and proportions must come from the pictures.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from ..checkpoints.safe_load import read_metadata
from ..progress import Progress
from .base import BaseFiles, open_base
from .dataset import CaptionedBundle, read_dataset, write_dataset
from .demo_family import keep_record, unwatched
from .demo_models import TILE
from .encoded import encode_dataset
from .fine_tune import FineTuneOptions
from .loop import LOG
from .plain_attention import PlainAttention
from .same_run import require_same_run
from .small_files import WEIGHTS, save_small
from .train_controlnet import ControlNetOptions, train_controlnet
from .varied_objects import plain_caption, varied_object

CONFIG = "config.json"
CONTROL = ControlNetOptions(modes=("tile", "canny", "normal"), double_blocks=1, single_blocks=1)
OPTIONS = FineTuneOptions(
    steps=3600, batch=8, learning_rate=5e-4, warmup=100, falling=True, guidance=3.5, validate_every=600,
    validation_steps=10, save_every=150, log_every=25, checkpointing=False,
)  # fmt: skip
SHOWN = len(CONTROL.modes)  # bundles that are drawn for validation


@dataclass(frozen=True)
class ControlNetDemoOptions:
    """How much the demo ControlNet is shown: bundles as the demo family's, bundles of stretched and turned objects, and
    training steps."""

    bundles: int = 1500
    varied: int = 600
    steps: int = OPTIONS.steps
    seed: int = 0


def train_demo_controlnet(
    work: Path,
    target: Path,
    base: Path,
    options: ControlNetDemoOptions = ControlNetDemoOptions(),
    watch: Callable[[str], Progress] = unwatched,
) -> None:
    """Makes the ControlNet in ``target``; everything on the way is kept in ``work``, where a broken-off call goes on.

    ``work`` may be that of the other demo models: only the rendered bundles are shared with them. ``base`` is the
    folder of the demo family. ``watch`` gives the progress of a stage by its name. Raises Bundle3DError where ``work``
    holds a run with other options, or ``base`` no model.
    """
    own = work / "controlnet"
    files = BaseFiles(base)
    models = open_base(files, torch.device("cpu"), torch.float32)
    require_same_run(own / "options.json", asdict(options))
    bundles = _bundles(work, options, watch)
    training = replace(OPTIONS, steps=options.steps, seed=options.seed)
    # Casts that autocast keeps would outlive the step in which weights change.
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False), PlainAttention():
        data = encode_dataset(bundles, models, files.stamp(), own / "cache", CONTROL.modes, watch("encoding"))
        made = train_controlnet(
            models, data, bundles[:SHOWN], own, CONTROL, training, files.stamp(), watch("ControlNet step")
        )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(made / CONFIG, target / CONFIG)
    save_small(load_file(made / WEIGHTS), target, read_metadata(made / WEIGHTS))
    keep_record(target / "training", {"controlnet": own / LOG}, options)


def _bundles(work: Path, options: ControlNetDemoOptions, watch: Callable[[str], Progress]) -> list[CaptionedBundle]:
    seed = options.seed
    write_dataset(work / "dataset", options.bundles, TILE, seed, watch("bundle"))
    write_dataset(work / "varied", options.varied, TILE, seed, watch("varied bundle"), varied_object)
    own = read_dataset(work / "dataset")[: options.bundles]
    renamed = [CaptionedBundle(bundle.path, plain_caption(index, seed)) for index, bundle in enumerate(own)]
    return renamed + read_dataset(work / "varied")[: options.varied]
