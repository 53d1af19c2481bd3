"""The demo family from nothing: dataset, autoencoder, transformer with its text encoders, as a diffusers folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.flux.pipeline_flux import FluxPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import CLIPTokenizer, PreTrainedTokenizerBase

from ..progress import Progress, silent
from . import train_flow, train_vae
from .dataset import CaptionedBundle, read_dataset, write_dataset
from .demo_models import TILE, new_clip, new_t5, new_tokenizers, new_transformer, new_vae
from .loop import LOG
from .loss_curve import draw_loss_curve
from .same_run import require_same_run
from .small_files import save_small
from .train_flow import TextAndFlow, encode_bundles, training_texts

VAE_BUNDLES = 1500


def unwatched(stage: str) -> Progress:
    """The progress of a stage that nobody watches."""
    return silent


@dataclass(frozen=True)
class DemoOptions:
    """How much the demo family is shown: bundles rendered, steps of the autoencoder and of the transformer."""

    bundles: int = 6800
    vae_steps: int = train_vae.OPTIONS.steps
    flow_steps: int = train_flow.OPTIONS.steps
    seed: int = 0


def train_demo(
    work: Path, target: Path, options: DemoOptions = DemoOptions(), watch: Callable[[str], Progress] = unwatched
) -> None:
    """Makes the demo family in ``target``; everything on the way is kept in ``work``, where a broken-off call goes on.

    ``watch`` gives the progress of a stage by its name. Raises Bundle3DError where ``work`` holds a run with other
    options.
    """
    require_same_run(work / "options.json", asdict(options))
    write_dataset(work / "dataset", options.bundles, TILE, options.seed, watch("bundle"))
    bundles = read_dataset(work / "dataset")
    kept = work / "vae"
    vae = train_vae.finished_vae(
        kept, lambda: _autoencoder(kept, bundles[:VAE_BUNDLES], options, watch("autoencoder step"))
    )
    tokenizers = new_tokenizers(training_texts(bundles))
    torch.manual_seed(options.seed + 1)
    model = TextAndFlow(new_transformer(), new_clip(tokenizers[0]), new_t5(tokenizers[1]))
    data = encode_bundles(bundles, vae, *tokenizers, work / "latents.npy", watch("encoded bundle"))
    flow_options = replace(train_flow.OPTIONS, steps=options.flow_steps)
    train_flow.train_flow(model, data, work / "flow", flow_options, options.seed, watch("transformer step"))
    save_family(target, vae, model, tokenizers)
    keep_record(target / "training", {"vae": work / "vae" / LOG, "flow": work / "flow" / LOG}, options)


def save_family(
    target: Path,
    vae: AutoencoderKL,
    model: TextAndFlow,
    tokenizers: tuple[CLIPTokenizer, PreTrainedTokenizerBase],
) -> None:
    """Writes a FLUX folder that diffusers opens, its transformer ``small``, the other weights in half precision."""
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=train_flow.SHIFT),
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=tokenizers[0],
        text_encoder_2=model.text_encoder_2,
        tokenizer_2=tokenizers[1],
        transformer=model.transformer,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(target)
    save_small(model.transformer.state_dict(), target / "transformer")


def keep_record(folder: Path, logs: dict[str, Path], options: Any) -> None:
    """Keeps the options (a dataclass), the logs and their curves of a run in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "options.json").write_text(json.dumps(asdict(options), indent=2) + "\n", encoding="utf-8", newline="\n")
    for name, log in logs.items():
        shutil.copyfile(log, folder / f"{name}.jsonl")
        draw_loss_curve(log, folder / f"{name}.png")


def _autoencoder(
    folder: Path, bundles: list[CaptionedBundle], options: DemoOptions, progress: Progress
) -> AutoencoderKL:
    torch.manual_seed(options.seed)
    vae = new_vae()
    vae_options = replace(train_vae.OPTIONS, steps=options.vae_steps)
    train_vae.train_vae(vae, bundles, folder, vae_options, options.seed, progress)
    return vae
