"""From words to what FLUX reads. Source: specs/kiss3dgen.md 2.3."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from .loras import scaled_loras
from .models import BundleModels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

TRIGGER = "A grid of 2x4 multi-view image, elevation 5. White background."
LONGEST_PROMPT = 512  # T5 tokens, where the tokenizer allows so many


def reference_prompt(description: str) -> tuple[str, str]:
    """What CLIP and what T5 read for ``description``: the sentence that the LoRA was trained on, alone and in front.

    A description that starts with the sentence already keeps it once.
    """
    description = description.strip()
    if description.startswith(TRIGGER):
        return TRIGGER, description
    return TRIGGER, f"{TRIGGER} {description}".rstrip()


def encode_prompt(models: BundleModels, description: str, lora_scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """T5's tokens (1, L, D) and CLIP's pooled vector (1, P) of the reference prompt for ``description``.

    L is 512 or the longest that the T5 tokenizer allows; longer prompts are cut, which the log says. Padding is not
    masked, as FLUX was trained. ``lora_scale`` multiplies the LoRAs of the encoders, where a file has some.
    """
    for_clip, for_t5 = reference_prompt(description)
    longest = models.text_encoder.module.config.max_position_embeddings
    ids = _token_ids(models.tokenizer, for_clip, min(longest, models.tokenizer.model_max_length))
    with models.text_encoder.use() as clip, scaled_loras(clip, lora_scale):
        pooled = clip(ids.to(models.text_encoder.compute_device)).pooler_output
    ids = _token_ids(models.tokenizer_2, for_t5, min(LONGEST_PROMPT, models.tokenizer_2.model_max_length))
    with models.text_encoder_2.use() as t5, scaled_loras(t5, lora_scale):
        text = t5(ids.to(models.text_encoder_2.compute_device))[0]
    return text, pooled


def _token_ids(tokenizer: PreTrainedTokenizerBase, text: str, length: int) -> torch.Tensor:
    count = len(tokenizer(text, verbose=False).input_ids)
    if count > length:
        logger.warning("Bundle3D: the prompt has %d tokens, of which only the first %d are read", count, length)
    return tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
