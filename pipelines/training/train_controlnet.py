"""Training a ControlNet of a FLUX transformer on a dataset of bundles. Source: specs/kiss3dgen.md 3.6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..diffusion.control import Control, PreparedControl
from ..diffusion.models import BundleModels, ControlNet
from ..errors import Bundle3DError
from ..progress import Progress, silent
from .borrowed import Borrowed
from .control_pictures import MODES, PUBLISHED_MODES, coarseness_of, control_picture
from .dataset import CaptionedBundle
from .encoded import EncodedDataset, encode_prompts
from .fine_tune import FineTuneOptions, fine_tune, keep_settings
from .flow_step import FlowStep, flow_step
from .new_controlnet import new_controlnet, save_controlnet
from .validation import GUIDANCE, Sample

FOLDER = "controlnet"


@dataclass(frozen=True)
class ControlNetOptions:
    """What it is shown, and its depth; absent numbers are a quarter of the base's blocks, as the published one has."""

    modes: tuple[str, ...] = tuple(MODES)
    double_blocks: int | None = None
    single_blocks: int | None = None

    def __post_init__(self) -> None:
        unknown = [mode for mode in self.modes if mode not in MODES]
        if unknown or not self.modes or len(set(self.modes)) < len(self.modes):
            raise Bundle3DError(
                f"Expected some of the modes {', '.join(MODES)}, each once, but got {', '.join(self.modes) or 'none'}; "
                "correct --modes."
            )


def train_controlnet(
    models: BundleModels,
    data: EncodedDataset,
    bundles: Sequence[CaptionedBundle],
    run: Path,
    control: ControlNetOptions,
    options: FineTuneOptions,
    stamp: str = "",
    progress: Progress = silent,
) -> Path:
    """Trains a union ControlNet beside the frozen transformer; returns its folder, in diffusers' format, in ``run``.

    ``data`` must be encoded with the modes. A run that broke off goes on, to the same end. ``bundles``, the first of
    the dataset, are redrawn for validation, one mode each in turn; ``stamp`` stands for the base.
    """
    keep_settings(run, "controlnet", options, {**asdict(control), "base": stamp})
    transformer = models.transformer.module
    device, dtype = models.transformer.compute_device, models.transformer.compute_dtype
    network: Any = new_controlnet(
        transformer, PUBLISHED_MODES, dtype, control.double_blocks, control.single_blocks, options.seed
    )
    modes = {mode: MODES[mode] for mode in control.modes}
    network.to(device)
    transformer.requires_grad_(False).to(device)
    if options.checkpointing:
        network.enable_gradient_checkpointing()
        transformer.enable_gradient_checkpointing()
    net = ControlNet(Borrowed(network, device), modes)
    samples = _samples(models, data, bundles, net, control.modes)

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        flow = flow_step(data, transformer, options.batch, models.shift, options.guidance, device, dtype, generator)
        return flow.loss(_velocity(transformer, network, flow, data, control.modes, generator))

    folder = run / FOLDER
    fine_tune(
        network, loss, lambda: save_controlnet(network, folder, dtype, modes), models, data, samples, run, options,
        progress,
    )  # fmt: skip
    return folder


def _velocity(
    transformer: Any,
    network: Any,
    flow: FlowStep,
    data: EncodedDataset,
    modes: Sequence[str],
    generator: torch.Generator,
) -> torch.Tensor:
    """The transformer's answer with the ControlNet's help, each bundle in a mode of its own."""
    hidden = flow.inputs["hidden_states"]
    chosen = [modes[index] for index in torch.randint(len(modes), (len(flow.picked),), generator=generator).tolist()]
    double, single = network(
        **flow.inputs,
        controlnet_cond=data.controls(flow.picked, chosen).to(hidden),
        controlnet_mode=torch.tensor([[MODES[mode]] for mode in chosen], device=hidden.device),
        return_dict=False,
    )
    velocity: torch.Tensor = transformer(
        **flow.inputs, controlnet_block_samples=double, controlnet_single_block_samples=single, return_dict=False
    )[0]
    return velocity


def _samples(
    models: BundleModels,
    data: EncodedDataset,
    bundles: Sequence[CaptionedBundle],
    net: ControlNet,
    modes: Sequence[str],
) -> list[Sample]:
    conditionings = encode_prompts(models, [bundle.caption for bundle in bundles], GUIDANCE)
    samples = []
    for index, (bundle, conditioning) in enumerate(zip(bundles, conditionings)):
        mode = modes[index % len(modes)]
        control = Control(control_picture(bundle, mode, coarseness_of(index)), net, mode, scale=1.0, end=1.0)
        prepared = PreparedControl(control, data.controls([index], [mode]), MODES[mode])
        samples.append(Sample(f"{index:02d}_{mode}", conditioning, prepared))
    return samples
