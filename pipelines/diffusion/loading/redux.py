"""FLUX Redux: the embedder that turns image features into words, and SigLIP, which makes the features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .assemble import fill, without_memory
from .configurations import SIGLIP_HEAD_WIDTH, SIGLIP_SO400M
from .source import read_component, wrong_kind
from .text_encoders import with_prefix_of
from .transformer import count_blocks

if TYPE_CHECKING:
    from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
    from transformers import SiglipVisionModel

REDUX, SIGLIP = "a FLUX Redux model", "a SigLIP image encoder"
REDUX_ADVICE = "choose flux1-redux-dev.safetensors in ComfyUI's folder style_models"
SIGLIP_ADVICE = "choose sigclip_vision_patch14_384.safetensors in ComfyUI's folder clip_vision"


@dataclass(frozen=True)
class ReduxComponents:
    """The embedder, and the image encoder whose last hidden state it takes."""

    embedder: ReduxImageEncoder
    image_encoder: SiglipVisionModel


def load_redux(path: Path, vision: Path, dtype: torch.dtype | None = None) -> ReduxComponents:
    """Redux and its image encoder from two files, or from two folders of diffusers.

    Both are stored and compute in ``dtype``, or in their file's type (bfloat16 where that is fp8).
    Raises Bundle3DError, naming the file, where one of them is something else or not whole.
    """
    return ReduxComponents(load_embedder(path, dtype), load_image_encoder(vision, dtype))


def load_embedder(path: Path, dtype: torch.dtype | None = None) -> ReduxImageEncoder:
    """Redux's two linear layers; from features (N, 729, 1152) to text tokens (N, 729, 4096) as published."""
    from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder

    path = Path(path)
    _, state, file = read_component(path, ("ReduxImageEncoder",), ())
    if not {"redux_up.weight", "redux_down.weight"} <= state.keys():
        raise wrong_kind(path, REDUX, REDUX_ADVICE, state)
    model = without_memory(lambda: ReduxImageEncoder(**redux_config(state)), file, REDUX)
    return fill(model, state, file, REDUX, dtype, casting=False)


def redux_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The sizes of Redux's two layers."""
    return {"redux_dim": state["redux_up.weight"].shape[1], "txt_in_features": state["redux_down.weight"].shape[0]}


def load_image_encoder(path: Path, dtype: torch.dtype | None = None) -> SiglipVisionModel:
    """SigLIP's image encoder without its pooling head, which Redux does not use."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    path = Path(path)
    settings, state, file = read_component(path, ("SiglipVisionModel",), ())
    if settings is not None:
        settings = settings | {"vision_use_head": False}
    else:
        patches = state.get("vision_model.embeddings.patch_embedding.weight")
        # CLIP's encoders have a class token, and SigLIP 2's flexible ones read patches as vectors.
        if patches is None or patches.ndim != 4 or "vision_model.embeddings.class_embedding" in state:
            raise wrong_kind(path, SIGLIP, SIGLIP_ADVICE)
    model = without_memory(
        lambda: SiglipVisionModel(SiglipVisionConfig.from_dict(settings or siglip_config(state))), file, SIGLIP
    )
    state = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(("text_model.", "logit_", "vision_model.head.", "head."))
        and not name.endswith(".position_ids")
    }
    return fill(model, with_prefix_of(model, state, "vision_model."), file, SIGLIP, dtype, casting=False)


def siglip_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a SigLIP image encoder from names and shapes; heads are as wide as the so400m model's."""
    width, channels, patch, _ = state["vision_model.embeddings.patch_embedding.weight"].shape
    positions = state["vision_model.embeddings.position_embedding.weight"].shape[0]
    return {
        **SIGLIP_SO400M,
        "hidden_size": width,
        "intermediate_size": state["vision_model.encoder.layers.0.mlp.fc1.bias"].shape[0],
        "num_hidden_layers": count_blocks((name.removeprefix("vision_model.encoder.") for name in state), "layers"),
        "num_attention_heads": max(1, width // SIGLIP_HEAD_WIDTH),
        "num_channels": channels,
        "patch_size": patch,
        # Positions are a square of whole patches; what is left of the published 384 pixels beside them is not read.
        "image_size": SIGLIP_SO400M["image_size"]
        if positions == 729 and patch == 14
        else math.isqrt(positions) * patch,
    }
