"""A Florence-2 of random weights that reads images of 64 pixels and writes single characters."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    BartConfig,
    CLIPImageProcessor,
    Florence2Config,
    Florence2ForConditionalGeneration,
    Florence2Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

from .tiny_language_model import letter_tokenizer

SIZE = 64
IMAGE_TOKENS = (SIZE // 32) ** 2 + 1


def tiny_processor() -> Florence2Processor:
    """One token per byte, and images of 64 pixels."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letter_tokenizer(None).backend_tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )
    size = {"height": SIZE, "width": SIZE}
    images = CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False, image_seq_length=IMAGE_TOKENS)
    images.image_seq_length = IMAGE_TOKENS
    return Florence2Processor(images, tokenizer)


def tiny_florence() -> Florence2ForConditionalGeneration:
    """One block per stage, of width 8 to 16."""
    tokenizer = tiny_processor().tokenizer
    vision = Florence2VisionConfig(
        depths=(1, 1, 1, 1), embed_dim=(8, 8, 16, 16), num_heads=(1, 1, 2, 2), num_groups=(1, 1, 2, 2), window_size=4,
        projection_dim=16,
    )  # fmt: skip
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "decoder_start_token_id": tokenizer.eos_token_id,
    }
    text = BartConfig(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=16,
        decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=256,
        forced_eos_token_id=None, forced_bos_token_id=None, **special,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Florence2Config(
            text_config=text.to_dict(), vision_config=vision.to_dict(), image_token_id=tokenizer.image_token_id
        )
        return Florence2ForConditionalGeneration(config).eval()


def write_tiny_florence(folder: Path) -> None:
    """The model and its processor as transformers stores them."""
    tiny_florence().save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
