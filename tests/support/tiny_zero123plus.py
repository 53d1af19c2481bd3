"""Zero123++ models of random weights that compute in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.multiview.loading import MultiviewComponents
from bundle3d.pipelines.multiview.models import MultiviewModels, PictureProcessing
from bundle3d.tests.support.tiny_flux import seeded, tiny_clip_tokenizer, tiny_vae
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

WIDTH = 16
CROP = 32
TOKENS = 7
SCHEDULER = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "linear",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "steps_offset": 1,
}
RAMP = tuple(0.1 * index for index in range(TOKENS))
FOR_VAE = PictureProcessing(CROP, CROP, (0.5, 0.5, 0.5), (0.8, 0.8, 0.8))
FOR_VISION = PictureProcessing(28, 28, (0.48, 0.46, 0.41), (0.27, 0.26, 0.28))


def tiny_unet(seed: int = 20, **changes: Any) -> UNet2DConditionModel:
    config = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "attention_head_dim": (2, 4),
        "cross_attention_dim": WIDTH,
        "use_linear_projection": True,
        "norm_num_groups": 4,
        **changes,
    }
    return seeded(lambda: UNet2DConditionModel(**config), seed)


def tiny_sd_vae(seed: int = 21) -> AutoencoderKL:
    return tiny_vae(seed, scaling_factor=0.18215, shift_factor=None)


def tiny_text_encoder(seed: int = 22) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tiny_clip_tokenizer()),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return seeded(lambda: CLIPTextModel(config), seed)


def tiny_vision_encoder(seed: int = 23) -> CLIPVisionModelWithProjection:
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=FOR_VISION.crop,
        patch_size=14,
        projection_dim=WIDTH,
    )
    return seeded(lambda: CLIPVisionModelWithProjection(config), seed)


def tiny_components(**changes: Any) -> MultiviewComponents:
    tokenizer = tiny_clip_tokenizer()
    tokenizer.model_max_length = TOKENS
    parts = {
        "unet": tiny_unet(),
        "vae": tiny_sd_vae(),
        "text_encoder": tiny_text_encoder(),
        "tokenizer": tokenizer,
        "vision_encoder": tiny_vision_encoder(),
        "ramp": RAMP,
        "scheduler": SCHEDULER,
        "for_vae": FOR_VAE,
        "for_vision": FOR_VISION,
        **changes,
    }
    return MultiviewComponents(**parts)


def tiny_multiview_models(**changes: Any) -> MultiviewModels:
    """The components in holders that keep them on the CPU."""
    return tiny_components(**changes).held(Resident, Resident, Resident)


def save_tiny_folder(folder: Path) -> Path:
    """Writes the tiny models as the published folder is written; returns ``folder``."""
    parts = tiny_components()
    for name in ("unet", "vae", "text_encoder", "tokenizer", "vision_encoder"):
        getattr(parts, name).save_pretrained(folder / name)
    for name, processing in (("feature_extractor_vae", FOR_VAE), ("feature_extractor_clip", FOR_VISION)):
        settings = {
            "crop_size": {"height": processing.crop, "width": processing.crop},
            "size": {"shortest_edge": processing.shortest},
            "image_mean": processing.mean,
            "image_std": processing.std,
            "resample": 3,
        }
        _write(folder / name / "preprocessor_config.json", settings)
    _write(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write(folder / "model_index.json", {"_class_name": "Zero123PlusPipeline", "ramping_coefficients": RAMP})
    return folder


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
