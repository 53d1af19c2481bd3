"""What a checkpoint holds, told from the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The first pattern that a name of the file matches says what the file is; parts of others come after wholes.
SIGNS: tuple[tuple[str, str], ...] = (
    (r"lora_(unet|transformer|te)|\.lora_(A|B|up|down)\b|\.lora\.(up|down)\b|\.lok?ha?r?_w", "a LoRA"),
    (r"conditioner\.embedders\.|(^|\.)add_embedding\.linear|\blabel_emb\.", "a Stable Diffusion XL model"),
    (r"(^|\.)joint_blocks\.\d", "a Stable Diffusion 3 model"),
    (r"double_stream_modulation_(img|txt)\.", "a FLUX.2 model"),
    (r"(^|\.)distilled_guidance_layer\.", "a Chroma model"),
    (r"^control_model\.|^controlnet_down_blocks\.|^controlnet_cond_embedding\.", "a ControlNet of Stable Diffusion"),
    (r"^controlnet_x_embedder\.|^pos_embed_input\.", "a FLUX ControlNet"),
    (r"^redux_(up|down)\.", "a FLUX Redux model"),
    (r"(^|\.)(double_blocks|single_transformer_blocks)\.\d", "a FLUX transformer"),
    (r"(^|\.)(input_blocks|output_blocks|down_blocks\.\d+\.attentions)\.\d", "a Stable Diffusion UNet"),
    (r"(^|\.)encoder\.(down\.\d|conv_in\.|down_blocks\.)", "a VAE"),
    (r"(^|\.)SelfAttention\.", "a T5 encoder"),
    (r"(^|\.)text_model\.", "a CLIP text encoder"),
    (r"(^|\.)vision_model\.", "an image encoder"),
)


def what_is_it(names: Iterable[str]) -> str:
    """A few words for what a file with tensors of these names holds."""
    names = list(names)
    for pattern, words in SIGNS:
        if any(re.search(pattern, name) for name in names):
            return words
    return f"something unknown (its first tensor is '{names[0]}')" if names else "nothing"
