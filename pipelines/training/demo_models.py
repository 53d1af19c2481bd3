"""The networks of the demo family before training: FLUX's architecture, small enough for two processor cores."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from transformers import (  # type: ignore[attr-defined]
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

TILE = 128
TEXT_LENGTH = 40
CLIP_WIDTH = 64
T5_WIDTH = 128
NEIGHBOURS = (-1, 1, -2, 2)  # the word, counted from its own, that each head of T5 looks at
NEIGHBOUR_SCORE = 6.0  # 0.9 of a head's attention among 40 words
LATER_WORDS = 16  # the first of T5's buckets for words that come after
CLIP_VOCABULARY = 1024
SPACE = "\u2581"
CHARACTERS = [chr(code) for code in range(33, 127)]


def new_vae() -> AutoencoderKL:
    """An autoencoder of FLUX's kind: 32 latent channels at a sixteenth of the resolution.

    FLUX's own have 16 channels at an eighth; a quarter of the tokens make training possible without a GPU.
    """
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        block_out_channels=(16, 32, 48, 96, 96),
        layers_per_block=1,
        latent_channels=32,
        norm_num_groups=2,
        sample_size=2 * TILE,  # as FLUX states it: the height of a bundle of two rows
        force_upcast=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )
    for module in vae.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.orthogonal_(module.weight)
    # Residual branches begin at nothing: a linear pyramid lets colours through, which normalised branches drown.
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
    return vae


def new_transformer() -> FluxTransformer2DModel:
    """A FLUX transformer with guidance embedding: two double and four single blocks of width 192."""
    return FluxTransformer2DModel(
        in_channels=128,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=64,
        num_attention_heads=3,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=CLIP_WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(8, 28, 28),
    )


def new_tokenizers(captions: Iterable[str]) -> tuple[CLIPTokenizer, PreTrainedTokenizerBase]:
    """CLIP's and T5's tokenisers with vocabularies from ``captions`` and the printable ASCII characters."""
    texts = list(captions)
    clip = CLIPTokenizer().train_new_from_iterator([*texts, *CHARACTERS], CLIP_VOCABULARY)
    clip.model_max_length = TEXT_LENGTH
    # T5's pieces: whole words are likelier than spelling them out.
    words = sorted({word for text in texts for word in re.findall(r"\w+", text)})
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (SPACE, -6.0)]
    pieces += [(SPACE + word, -2.0) for word in words] + [(character, -8.0) for character in CHARACTERS]
    t5 = T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=TEXT_LENGTH)
    return clip, t5


def new_clip(tokenizer: PreTrainedTokenizerBase) -> CLIPTextModel:
    """A CLIP text encoder for ``tokenizer``."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CLIP_WIDTH,
            intermediate_size=4 * CLIP_WIDTH,
            projection_dim=CLIP_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=TEXT_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_t5(tokenizer: PreTrainedTokenizerBase) -> T5EncoderModel:
    """A T5 encoder for ``tokenizer`` whose heads look at neighbouring words from the start.

    FLUX gives words no positions: only T5's relative ones tell "a red cube on a blue one" from its reverse. From T5's
    own random start they stay unused, as if words were in a bag.
    """
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=T5_WIDTH,
            d_kv=32,
            d_ff=4 * T5_WIDTH,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    bias = encoder.get_parameter("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
    with torch.no_grad():
        for head, offset in enumerate(NEIGHBOURS):
            bias[abs(offset) + (LATER_WORDS if offset > 0 else 0), head] = NEIGHBOUR_SCORE
    return encoder


def parameters(*modules: torch.nn.Module) -> int:
    """How many weights the modules have."""
    return sum(weight.numel() for module in modules for weight in module.parameters())
