"""Training a LoRA of a FLUX transformer on a dataset of bundles. Source: specs/kiss3dgen.md 2.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ..diffusion.models import BundleModels
from ..progress import Progress, silent
from .encoded import EncodedDataset, encode_prompts
from .fine_tune import FineTuneOptions, fine_tune, keep_settings
from .flow_step import flow_step
from .lora_layers import BLOCKS, add_lora, save_lora, target_layers
from .validation import GUIDANCE, Sample

FILE = "lora.safetensors"


@dataclass(frozen=True)
class LoraOptions:
    """Size of a LoRA; the defaults are the reference's.

    Its rank is the paper's; alpha 1 and every layer of the blocks are what its trainer (FluxGym) takes unasked.
    """

    rank: int = 128
    alpha: float = 1.0
    targets: str = BLOCKS


def train_lora(
    models: BundleModels,
    data: EncodedDataset,
    prompts: Sequence[str],
    run: Path,
    lora: LoraOptions,
    options: FineTuneOptions,
    stamp: str = "",
    progress: Progress = silent,
) -> Path:
    """Trains a LoRA on the transformer of ``models``, which keeps it, and returns its file in the folder ``run``.

    A run that broke off goes on, to the same end. ``prompts`` are drawn for validation; ``stamp`` stands for the base.
    """
    keep_settings(run, "lora", options, {**asdict(lora), "base": stamp})
    transformer = models.transformer.module
    device, dtype = models.transformer.compute_device, models.transformer.compute_dtype
    samples = [
        Sample(f"{index:02d}", conditioning)
        for index, conditioning in enumerate(encode_prompts(models, prompts, GUIDANCE))
    ]
    add_lora(transformer, target_layers(transformer, lora.targets), lora.rank, lora.alpha, dtype, options.seed)
    transformer.to(device)
    if options.checkpointing:
        transformer.enable_gradient_checkpointing()

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        flow = flow_step(data, transformer, options.batch, models.shift, options.guidance, device, dtype, generator)
        return flow.loss(transformer(**flow.inputs, return_dict=False)[0])

    file = run / FILE
    about = {"rank": str(lora.rank), "alpha": str(lora.alpha), "steps": str(options.steps)}
    fine_tune(
        transformer, loss, lambda: save_lora(transformer, file, dtype, about), models, data, samples, run, options,
        progress,
    )  # fmt: skip
    return file
