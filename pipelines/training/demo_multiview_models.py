"""The networks of the small multi-view model before training, and the folder that they are kept in.

The folder is one of Zero123++ (specs/kiss3dgen.md 3.2) with the layout of FlexGen: four views around the object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedTokenizerBase,
)

from ..multiview.draw import CONTRAST
from ..multiview.models import PictureProcessing
from .demo_models import CHARACTERS, TILE, new_tokenizers
from .small_files import save_small
from .whole_file import whole_file

WIDTH = 128
TOKENS = 8
VISION_SIDE = 64
RAMP = tuple(round(1.2 * index / (TOKENS - 1), 5) for index in range(TOKENS))
FOR_VAE = PictureProcessing(TILE, TILE, (0.5, 0.5, 0.5), (0.8, 0.8, 0.8))
FOR_VISION = PictureProcessing(VISION_SIDE, VISION_SIDE, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}


@torch.no_grad()
def read_low_contrast(vae: AutoencoderKL) -> None:
    """Makes an autoencoder take and give pixels of the model's lower contrast, in place; latents stay as they are.

    Pixels are around zero, so that lower contrast is a factor, which the first and the last layer take up.
    """
    vae.encoder.conv_in.weight.div_(CONTRAST)
    for parameter in vae.decoder.conv_out.parameters():
        parameter.mul_(CONTRAST)


def new_unet(channels: int) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion 2's kind for latents of ``channels``, with two levels."""
    return UNet2DConditionModel(
        sample_size=2 * TILE // 16,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        attention_head_dim=(2, 4),  # which diffusers takes as numbers of heads
        cross_attention_dim=WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
    )


def new_vision_encoder() -> CLIPVisionModelWithProjection:
    """A CLIP image encoder of four layers for pictures of 64 pixels."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=VISION_SIDE,
            patch_size=8,
            projection_dim=WIDTH,
        )
    )


def new_empty_prompt() -> tuple[CLIPTextModel, PreTrainedTokenizerBase]:
    """A CLIP text encoder, which only ever reads the empty prompt, and its tokenizer."""
    tokenizer = new_tokenizers(CHARACTERS)[0]
    tokenizer.model_max_length = TOKENS
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return encoder, tokenizer


def save_multiview(
    folder: Path,
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    text: tuple[CLIPTextModel, PreTrainedTokenizerBase],
    vision_encoder: CLIPVisionModelWithProjection,
) -> None:
    """Writes a Zero123++ folder, its UNet ``small``, other weights in half precision; converts the modules in place."""
    parts: dict[str, Any] = {"unet": unet, "vae": vae, "text_encoder": text[0], "vision_encoder": vision_encoder}
    for name, module in parts.items():
        module.to(dtype=torch.float16).save_pretrained(folder / name)
    save_small(unet.state_dict(), folder / "unet")
    text[1].save_pretrained(folder / "tokenizer")
    for name, processing in (("vae", FOR_VAE), ("clip", FOR_VISION)):
        settings = {
            "image_processor_type": "CLIPImageProcessor",
            "crop_size": {"height": processing.crop, "width": processing.crop},
            "size": {"shortest_edge": processing.shortest},
            "image_mean": processing.mean,
            "image_std": processing.std,
            "resample": 3,
        }
        _write(folder / f"feature_extractor_{name}" / "preprocessor_config.json", settings)
    _write(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write(folder / "model_index.json", {"_class_name": "Zero123PlusPipeline", "ramping_coefficients": RAMP})


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8", newline="\n")
