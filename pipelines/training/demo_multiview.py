"""The small multi-view model from nothing but the demo family's autoencoder, as a Zero123++ folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ..errors import Bundle3DError
from ..progress import Progress
from . import train_multiview, train_vae
from .demo_family import keep_record, unwatched
from .demo_models import TILE
from .demo_multiview_models import new_empty_prompt, new_unet, new_vision_encoder, read_low_contrast, save_multiview
from .loop import LOG
from .multiview_dataset import PicturedObject, write_pictured_objects
from .same_run import require_same_run
from .train_multiview import EncodedViews, PictureAndViews, encode_views
from .whole_file import whole_file

VAE_OBJECTS = 600


@dataclass(frozen=True)
class MultiviewOptions:
    """How much the model is shown: objects rendered, steps of the autoencoder and of the UNet."""

    objects: int = 3000
    vae_steps: int = 300
    unet_steps: int = train_multiview.OPTIONS.steps
    seed: int = 0


def train_demo_multiview(
    work: Path,
    target: Path,
    vae: Path,
    options: MultiviewOptions = MultiviewOptions(),
    watch: Callable[[str], Progress] = unwatched,
) -> None:
    """Makes the model in ``target``; everything on the way is kept in ``work``, where a broken-off call goes on.

    ``work`` may be that of the other demo models: only the rendered objects are shared with them.
    Training of its autoencoder begins with the one in the folder ``vae``. ``watch`` gives the progress of a stage by
    its name. Raises Bundle3DError where ``work`` holds a run with other options, or ``vae`` no autoencoder.
    """
    own = work / "multiview"
    require_same_run(own / "options.json", asdict(options))
    objects = write_pictured_objects(work / "objects", options.objects, TILE, options.seed, watch("object"))
    kept_vae = own / "vae"
    autoencoder = train_vae.finished_vae(
        kept_vae, lambda: _autoencoder(vae, kept_vae, objects[:VAE_OBJECTS], options, watch("autoencoder step"))
    )
    torch.manual_seed(options.seed + 1)
    text_encoder, tokenizer = new_empty_prompt()
    model = PictureAndViews(new_unet(int(autoencoder.config["latent_channels"])), new_vision_encoder())
    kept = own / "encoded.pt"
    if not kept.is_file():
        encoded = encode_views(objects, autoencoder, text_encoder.eval(), tokenizer, watch("encoded object"))
        with whole_file(kept) as unfinished:
            torch.save(vars(encoded), unfinished)
    data = EncodedViews(**torch.load(kept, weights_only=True))
    unet_options = replace(train_multiview.OPTIONS, steps=options.unet_steps)
    train_multiview.train_multiview(model, data, own / "unet", unet_options, options.seed, watch("UNet step"))
    save_multiview(target, model.unet, autoencoder, (text_encoder, tokenizer), model.vision_encoder)
    keep_record(target / "training", {"vae": kept_vae / LOG, "unet": own / "unet" / LOG}, options)


def _autoencoder(
    start: Path, folder: Path, objects: Sequence[PicturedObject], options: MultiviewOptions, progress: Progress
) -> AutoencoderKL:
    if not (start / "config.json").is_file():
        raise Bundle3DError(
            f"Expected an autoencoder to begin with in {start}, but there is none; make the demo family with "
            "'bundle3d train demo' first, or name another folder with --vae."
        )
    vae = AutoencoderKL.from_pretrained(start, torch_dtype=torch.float32)
    vae_options = replace(train_vae.OPTIONS, steps=options.vae_steps, learning_rate=3e-4)
    train_vae.train_vae(vae, objects, folder, vae_options, options.seed, progress)
    read_low_contrast(vae)
    return vae
