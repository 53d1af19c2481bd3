"""What ``bundle3d train`` does once its arguments are known: says the plan, then renders or trains."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..checkpoints.demo_folder import DEMO_FOLDER
from ..checkpoints.machine import this_machine
from ..checkpoints.report import size_text
from ..comfyui_folder import find_comfyui
from ..diffusion.encode_prompt import LONGEST_PROMPT
from ..diffusion.loading.lora import apply_loras, load_lora
from ..diffusion.models import BundleModels
from ..errors import Bundle3DError
from .base import BaseFiles, native_tile, open_base
from .control_pictures import PUBLISHED_MODES
from .dataset import CAPTIONS, CaptionedBundle, read_dataset
from .encoded import EncodedDataset, encode_dataset
from .fine_tune import FineTuneOptions
from .lora_layers import lora_weights, target_layers
from .memory_plan import MemoryPlan, memory_plan
from .new_controlnet import empty_controlnet
from .recipes import Recipe, recipe_for
from .render_folder import RenderSettings, render_folder
from .train_controlnet import ControlNetOptions, train_controlnet
from .train_lora import LoraOptions, train_lora
from .watch import Watch, stoppable

PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
SHOWN = 2  # bundles that are drawn for validation unless prompts are given


def render(options: argparse.Namespace) -> int:
    """Renders a folder of meshes."""
    _render(options, options.meshes, options.out)
    return 0


def lora(options: argparse.Namespace) -> int:
    """Trains a LoRA."""
    job = _Job(options)
    transformer = job.models.transformer.module
    settings = LoraOptions(
        getattr(options, "rank", job.recipe.rank), getattr(options, "alpha", job.recipe.alpha), options.targets
    )
    training = job.training(job.recipe.learning_rate)
    layers = target_layers(transformer, settings.targets)
    weights = lora_weights(transformer, layers, settings.rank)
    print(f"LoRA of rank {settings.rank} and alpha {settings.alpha:g} on {len(layers)} layers: {weights:,} weights")
    job.say_plan(training, weights, 0)
    data = job.encode()
    prompts = getattr(options, "prompt", [bundle.caption for bundle in job.bundles[:SHOWN]])
    watch = Watch("step")
    with stoppable(watch):
        file = train_lora(job.models, data, prompts, options.out, settings, training, job.files.stamp(), watch)
    print(file)
    return 0


def controlnet(options: argparse.Namespace) -> int:
    """Trains a ControlNet."""
    job = _Job(options)
    transformer = job.models.transformer.module
    settings = ControlNetOptions(
        tuple(mode.strip() for mode in options.modes.split(",") if mode.strip()),
        getattr(options, "double_blocks", None),
        getattr(options, "single_blocks", None),
    )
    training = job.training(job.recipe.controlnet_rate)
    network = empty_controlnet(transformer, PUBLISHED_MODES, settings.double_blocks, settings.single_blocks)
    weights = sum(weight.numel() for weight in network.parameters())
    blocks = network.config.num_layers + network.config.num_single_layers
    print(f"ControlNet of {blocks} blocks for {', '.join(settings.modes)}: {weights:,} weights")
    job.say_plan(training, weights, blocks)
    stamp = job.files.stamp()
    if hasattr(options, "lora"):
        apply_loras(transformer, [(load_lora(options.lora), 1.0, options.lora.name)])
        stamp += f" with {options.lora.name}"
    data = job.encode(settings.modes)
    watch = Watch("step")
    shown = job.bundles[: max(SHOWN, len(settings.modes))]
    with stoppable(watch):
        folder = train_controlnet(job.models, data, shown, options.out, settings, training, stamp, watch)
    print(folder)
    return 0


class _Job:
    """The base and the dataset that a call names."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.files = _base_files(options)
        self.bundles = _bundles(options)
        device = torch.device(getattr(options, "device", this_machine().device))
        precision = getattr(options, "precision", None if device.type == "cpu" else "bf16")
        self.models: BundleModels = open_base(self.files, device, None if precision is None else PRECISIONS[precision])
        self.recipe: Recipe = recipe_for(self.models.transformer.module)

    def training(self, rate: float) -> FineTuneOptions:
        """The options of the call; what it leaves open is the recipe's."""
        options = self.options
        return FineTuneOptions(
            steps=options.steps,
            batch=getattr(options, "batch", self.recipe.batch),
            learning_rate=getattr(options, "rate", rate),
            warmup=options.warmup,
            guidance=getattr(options, "guidance", self.recipe.guidance),
            validate_every=options.validate_every,
            validation_steps=options.validation_steps,
            save_every=options.save_every,
            log_every=options.log_every,
            checkpointing=not options.no_checkpointing,
            seed=options.seed,
        )

    def say_plan(self, training: FineTuneOptions, weights: int, more_blocks: int) -> None:
        """Prints what the run will do and the memory that it will take."""
        height, width, _ = self.bundles[0].image().shape
        side = self.models.pixels_per_token
        text = min(LONGEST_PROMPT, self.models.tokenizer_2.model_max_length)
        tokens = height // side * (width // side) + text
        passes = training.steps * training.batch / len(self.bundles)
        print(
            f"{len(self.bundles)} bundles of {width}x{height} ({tokens} tokens with the text), {training.steps} steps "
            f"of {training.batch}: {passes:.1f} times through all, learning rate {training.learning_rate:g}"
        )
        dtype = self.models.transformer.compute_dtype
        plan = memory_plan(
            self.models.transformer.module, weights, more_blocks, tokens, training.batch, dtype.itemsize,
            training.checkpointing,
        )  # fmt: skip
        print(_memory_line(plan, self.models.transformer.compute_device))

    def encode(self, modes: tuple[str, ...] = ()) -> EncodedDataset:
        """The dataset's latents and text embeddings, kept in the run's folder."""
        watch = Watch("encoding")
        with stoppable(watch):
            return encode_dataset(
                self.bundles, self.models, self.files.stamp(), self.options.out / "cache", modes, watch
            )


def _memory_line(plan: MemoryPlan, device: torch.device) -> str:
    machine = this_machine()
    free = machine.free_gpu if device.type == "cuda" else machine.free_ram
    line = (
        f"memory on {device}: base {size_text(plan.base)}, training {size_text(plan.trained)}, activations about "
        f"{size_text(plan.activations)}, together about {size_text(plan.total)} of {size_text(free)} that are free"
    )
    if plan.total > free:
        line += "; this will hardly fit: lower --batch or --rank, use fewer layers or blocks, or an fp8 base"
    return line


def _base_files(options: argparse.Namespace) -> BaseFiles:
    base = getattr(options, "base", DEMO_FOLDER)
    clip_tokenizer = t5_tokenizer = None
    if base.is_file():
        if hasattr(options, "tokenizers"):
            clip_tokenizer, t5_tokenizer = options.tokenizers / "tokenizer", options.tokenizers / "tokenizer_2"
        else:
            comfy = find_comfyui() / "comfy"
            clip_tokenizer, t5_tokenizer = comfy / "sd1_tokenizer", comfy / "text_encoders" / "t5_tokenizer"
    parts = {name: getattr(options, name, None) for name in ("vae", "clip", "t5")}
    return BaseFiles(base, **parts, clip_tokenizer=clip_tokenizer, t5_tokenizer=t5_tokenizer)


def _bundles(options: argparse.Namespace) -> list[CaptionedBundle]:
    """The dataset of the call; a folder of meshes is rendered into the run's folder first."""
    if (options.data / CAPTIONS).is_file():
        return read_dataset(options.data)
    rendered = options.out / "dataset"
    _render(options, options.data, rendered)
    return read_dataset(rendered)


def _render(options: argparse.Namespace, meshes: Path, out: Path) -> None:
    base = getattr(options, "base", DEMO_FOLDER)
    if not hasattr(options, "tile") and not base.exists():
        raise Bundle3DError(
            f"Expected a base that says the size of its bundles, but there is none at {base}; set --tile."
        )
    settings = RenderSettings(getattr(options, "tile", None) or native_tile(base), options.shading, options.size)
    print(f"Rendering bundles of {4 * settings.tile}x{2 * settings.tile}, {settings.shading}, into {out}")
    watch = Watch("mesh")
    with stoppable(watch):
        result = render_folder(meshes, out, settings, getattr(options, "captions", None), watch, print)
    print(f"{result.rendered} rendered, {result.kept} were there, {len(result.refused)} left out")
