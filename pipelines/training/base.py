"""The FLUX model that adapters are trained for: a diffusers folder, a checkpoint with all parts, or single files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..checkpoints.demo_folder import DEMO_FOLDER
from ..checkpoints.file_states import file_states
from ..diffusion.loading.folder import Components, load_folder
from ..diffusion.loading.source import read_json
from ..diffusion.loading.text_encoders import load_text_encoders
from ..diffusion.loading.transformer import load_transformer
from ..diffusion.loading.vae import load_vae
from ..diffusion.models import BundleModels
from ..errors import Bundle3DError
from .borrowed import Borrowed

FLUX_TILE = 512


@dataclass(frozen=True)
class BaseFiles:
    """Where the parts of the base are.

    ``base`` is a diffusers folder, or a file: a checkpoint with all parts, or a transformer alone beside ``vae``,
    ``clip`` and ``t5``. Files of weights have no tokenizers; those are in folders of their own.
    """

    base: Path = DEMO_FOLDER
    vae: Path | None = None
    clip: Path | None = None
    t5: Path | None = None
    clip_tokenizer: Path | None = None
    t5_tokenizer: Path | None = None

    def stamp(self) -> str:
        """Changes when a file of the base does: names, sizes and times, digested."""
        digest = hashlib.sha256()
        for path in (self.base, self.vae, self.clip, self.t5):
            for name, changed, size in [] if path is None else file_states(path):
                digest.update(f"{name} {size} {changed}\n".encode())
        return digest.hexdigest()


def open_base(files: BaseFiles, device: torch.device, dtype: torch.dtype | None = None) -> BundleModels:
    """The base's components, each copied to ``device`` only while it computes, in ``dtype`` or their files' type.

    Raises Bundle3DError where a part is missing, damaged, or of another architecture than FLUX.1.
    """
    if not files.base.exists():
        raise Bundle3DError(
            f"Expected a FLUX.1 folder or checkpoint, but there is none at {files.base}; correct --base."
        )
    parts = load_folder(files.base, dtype) if files.base.is_dir() else _from_files(files, dtype)

    def held(module: Any) -> Borrowed:
        return Borrowed(module.requires_grad_(False), device)

    return parts.held(held, held, held)


def native_tile(base: Path) -> int:
    """Side of a tile, in pixels, of the bundles that a base draws: half of the picture size that its VAE states."""
    if not base.is_dir():
        return FLUX_TILE
    size = read_json(base / "vae" / "config.json").get("sample_size")
    return size // 2 if isinstance(size, int) and size > 1 else FLUX_TILE


def _from_files(files: BaseFiles, dtype: torch.dtype | None) -> Components:
    if files.clip_tokenizer is None or files.t5_tokenizer is None:
        raise Bundle3DError(
            f"Expected the tokenizers' folders for the file {files.base.name}, but none are given; set --tokenizers to "
            "a folder with tokenizer and tokenizer_2 in it, such as FLUX.1-dev's in diffusers' format."
        )
    clip, t5 = files.clip or files.base, files.t5 or files.base
    encoders = load_text_encoders(clip, t5, files.clip_tokenizer, files.t5_tokenizer, dtype)
    return Components(
        transformer=load_transformer(files.base, dtype),
        vae=load_vae(files.vae or files.base, dtype),
        text_encoder=encoders.text_encoder,
        tokenizer=encoders.tokenizer,
        text_encoder_2=encoders.text_encoder_2,
        tokenizer_2=encoders.tokenizer_2,
        scheduler={},
    )
