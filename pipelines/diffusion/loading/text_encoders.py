"""FLUX's two text encoders, CLIP-L and T5-XXL, and their tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...errors import Bundle3DError
from .assemble import expected_shapes, fill, without_memory
from .configurations import CLIP_HEAD_WIDTH, CLIP_L, T5_XXL
from .source import read_component, wrong_kind
from .transformer import count_blocks

if TYPE_CHECKING:
    from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

CLIP_PREFIXES = ("text_encoders.clip_l.transformer.", "text_encoder.")
T5_PREFIXES = ("text_encoders.t5xxl.transformer.", "text_encoder_2.")
CLIP, T5 = "a CLIP text encoder", "a T5 encoder"
CLIP_ADVICE = "choose clip_l.safetensors in ComfyUI's folder text_encoders"
T5_ADVICE = (
    "choose T5-XXL, such as t5xxl_fp16.safetensors or t5xxl_fp8_e4m3fn.safetensors, in ComfyUI's folder text_encoders"
)
NOT_TEXT = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale")
LONGEST_T5_PROMPT = 512


@dataclass(frozen=True)
class TextEncoders:
    """CLIP and T5, each with its tokenizer."""

    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    text_encoder_2: T5EncoderModel
    tokenizer_2: PreTrainedTokenizerBase


def load_text_encoders(
    clip: Path, t5: Path, clip_tokenizer: Path, t5_tokenizer: Path, dtype: torch.dtype | None = None
) -> TextEncoders:
    """Both text encoders from files or folders, and their tokenizers from the folders given.

    ``clip`` and ``t5`` may be the same all-in-one checkpoint. Raises Bundle3DError, naming the file, for what does not
    fit.
    """
    text_encoder, text_encoder_2 = load_clip(clip, dtype), load_t5(t5, dtype)
    return TextEncoders(
        text_encoder, load_clip_tokenizer(clip_tokenizer, text_encoder), text_encoder_2, load_t5_tokenizer(t5_tokenizer)
    )


def load_clip(path: Path, dtype: torch.dtype | None = None) -> CLIPTextModel:
    """CLIP's text encoder from a file in the names of transformers, an all-in-one checkpoint or a folder.

    Weights stay stored as in the file; it computes in ``dtype``, or in the file's type (bfloat16 where that is fp8).
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    path = Path(path)
    settings, state, file = read_component(path, ("CLIPTextModel", "CLIPTextModelWithProjection"), CLIP_PREFIXES)
    if settings is None and "text_model.embeddings.token_embedding.weight" not in state:
        raise wrong_kind(path, CLIP, CLIP_ADVICE)
    model = without_memory(lambda: CLIPTextModel(CLIPTextConfig.from_dict(settings or clip_config(state))), file, CLIP)
    state = {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith(NOT_TEXT) and not name.endswith(".position_ids")
    }
    return fill(model, with_prefix_of(model, state, "text_model."), file, CLIP, dtype)


def load_t5(path: Path, dtype: torch.dtype | None = None) -> T5EncoderModel:
    """T5's encoder, from the same kinds of files and in the same types as ``load_clip``."""
    from transformers import T5Config, T5EncoderModel

    path = Path(path)
    settings, state, file = read_component(path, ("T5EncoderModel", "T5ForConditionalGeneration"), T5_PREFIXES)
    if settings is None and "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight" not in state:
        raise wrong_kind(path, T5, T5_ADVICE)
    model = without_memory(lambda: T5EncoderModel(T5Config.from_dict(settings or t5_config(state))), file, T5)
    model.set_input_embeddings(model.shared)  # one tensor under two names
    words = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    state = {
        name: tensor for name, tensor in state.items() if not name.startswith(("decoder.", "lm_head.", "logit_scale"))
    }
    if words is not None:
        state |= {"shared.weight": words, "encoder.embed_tokens.weight": words}
    return fill(model, state, file, T5, dtype)


def clip_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a CLIP text encoder from names and shapes; heads are as wide as CLIP-L's."""
    words, width = state["text_model.embeddings.token_embedding.weight"].shape
    layers = count_blocks((name.removeprefix("text_model.encoder.") for name in state), "layers")
    return {
        **CLIP_L,
        "vocab_size": words,
        "hidden_size": width,
        "projection_dim": width,
        "intermediate_size": state["text_model.encoder.layers.0.mlp.fc1.bias"].shape[0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // CLIP_HEAD_WIDTH),
        "max_position_embeddings": state["text_model.embeddings.position_embedding.weight"].shape[0],
    }


def t5_config(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """The configuration of a T5 v1.1 encoder from names and shapes."""
    layer = "encoder.block.0.layer"
    buckets, heads = state[f"{layer}.0.SelfAttention.relative_attention_bias.weight"].shape
    rows, width = state[f"{layer}.0.SelfAttention.q.weight"].shape
    words = state.get("shared.weight", state.get("encoder.embed_tokens.weight"))
    return {
        **T5_XXL,
        "vocab_size": T5_XXL["vocab_size"] if words is None else words.shape[0],
        "d_model": width,
        "d_kv": rows // heads,
        "d_ff": state[f"{layer}.1.DenseReluDense.wi_0.weight"].shape[0],
        "num_layers": count_blocks((name.removeprefix("encoder.") for name in state), "block"),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
    }


def with_prefix_of(model: torch.nn.Module, state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors with or without ``prefix``, as ``model`` has it: transformers 5 dropped some of version 4."""
    if any(name.startswith(prefix) for name in expected_shapes(model)):
        return {prefix + name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def load_clip_tokenizer(folder: Path, text_encoder: CLIPTextModel) -> PreTrainedTokenizerBase:
    """CLIP's tokenizer, which pads and cuts to as many tokens as ``text_encoder`` has positions for."""
    tokenizer = _tokenizer(folder)
    tokenizer.model_max_length = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)
    return tokenizer


def load_t5_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """T5's tokenizer, for prompts of at most 512 tokens or as many as its folder allows."""
    tokenizer = _tokenizer(folder)
    tokenizer.model_max_length = min(tokenizer.model_max_length, LONGEST_T5_PROMPT)
    return tokenizer


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not folder.is_dir():
        raise Bundle3DError(
            f"Expected a tokenizer's folder, but there is none at '{folder.name}'; choose another or copy it there."
        )
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Bundle3DError(
            f"Expected a tokenizer in the folder '{folder.name}', but it cannot be read; copy the whole folder again."
        ) from error
