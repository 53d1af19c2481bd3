"""A whole FLUX pipeline from a folder in diffusers' format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import Bundle3DError
from ..holder import Holder
from ..models import BundleModels, check_models
from .source import read_json
from .text_encoders import load_clip, load_clip_tokenizer, load_t5, load_t5_tokenizer
from .transformer import load_transformer
from .vae import load_vae

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

PARTS = ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")


@dataclass(frozen=True)
class Components:
    """All that text-to-image with FLUX needs; ``scheduler`` is the configuration in the folder, or empty."""

    transformer: FluxTransformer2DModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    text_encoder_2: T5EncoderModel
    tokenizer_2: PreTrainedTokenizerBase
    scheduler: dict[str, Any]

    def held(
        self,
        network: Callable[[Any], Holder],
        vae: Callable[[Any], Holder],
        text_encoder: Callable[[Any], Holder],
    ) -> BundleModels:
        """The components in holders that are made for each kind. Raises Bundle3DError where they do not fit."""
        models = BundleModels(
            transformer=network(self.transformer),
            vae=vae(self.vae),
            text_encoder=text_encoder(self.text_encoder),
            tokenizer=self.tokenizer,
            text_encoder_2=text_encoder(self.text_encoder_2),
            tokenizer_2=self.tokenizer_2,
            shift=self.scheduler.get("shift", BundleModels.shift),
        )
        check_models(models)
        return models


def load_folder(path: Path, dtype: torch.dtype | None = None) -> Components:
    """The components in a folder with model_index.json, memory-mapped.

    Each computes in ``dtype``, or in its file's type (bfloat16 where that is fp8).

    Raises Bundle3DError where a part is missing, damaged, or of another architecture than FLUX.1.
    """
    path = Path(path)
    if not path.is_dir():
        raise Bundle3DError(
            f"Expected a folder in diffusers' format, but there is none at '{path.name}'; choose another."
        )
    kind = read_json(path / "model_index.json").get("_class_name")
    if not isinstance(kind, str) or not kind.startswith("Flux") or kind.startswith("Flux2"):
        raise Bundle3DError(
            f"Expected a FLUX.1 pipeline in the folder '{path.name}', but it holds {kind}; choose another folder."
        )
    for part in PARTS:
        if not (path / part).is_dir():
            raise Bundle3DError(
                f"Expected the part '{part}' in the folder '{path.name}', but there is none; download the whole folder."
            )
    text_encoder = load_clip(path / "text_encoder", dtype)
    scheduler = path / "scheduler" / "scheduler_config.json"
    return Components(
        transformer=load_transformer(path / "transformer", dtype),
        vae=load_vae(path / "vae", dtype),
        text_encoder=text_encoder,
        tokenizer=load_clip_tokenizer(path / "tokenizer", text_encoder),
        text_encoder_2=load_t5(path / "text_encoder_2", dtype),
        tokenizer_2=load_t5_tokenizer(path / "tokenizer_2"),
        scheduler=read_json(scheduler) if scheduler.is_file() else {},
    )
