"""FLUX pipelines of random weights that compute in milliseconds."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from bundle3d.pipelines.diffusion.encode_prompt import TRIGGER
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.models import BundleModels, ControlNet, Redux
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxPipeline,
    FluxTransformer2DModel,
)
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

Module = TypeVar("Module", bound=torch.nn.Module)

LATENT_CHANNELS = 4
TEXT_WIDTH, POOLED_WIDTH = 32, 24
T5_LENGTH = 24
LAYERS, SINGLE_LAYERS = 3, 5
TRANSFORMER = {
    "in_channels": 4 * LATENT_CHANNELS,
    "num_layers": LAYERS,
    "num_single_layers": SINGLE_LAYERS,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": TEXT_WIDTH,
    "pooled_projection_dim": POOLED_WIDTH,
    "guidance_embeds": True,
    "axes_dims_rope": (4, 6, 6),
}
WORDS = sorted({*TRIGGER.split(), "a", "red", "blue", "torus", "cube"})


def seeded(make: Callable[[], Module], seed: int) -> Module:
    """What ``make`` makes, of random weights that depend on ``seed`` alone; biases and zero layers are random too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = make()
        for parameter in module.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return module.eval().requires_grad_(False)


def tiny_transformer(seed: int = 0, **changes: Any) -> FluxTransformer2DModel:
    return seeded(lambda: FluxTransformer2DModel(**{**TRANSFORMER, **changes}), seed)


def tiny_controlnet(seed: int = 10, **changes: Any) -> FluxControlNetModel:
    """Two double and three single blocks, with the modes of a union network unless ``num_mode`` is None."""
    config = {**TRANSFORMER, "num_layers": 2, "num_single_layers": 3, "num_mode": 10, **changes}
    return seeded(lambda: FluxControlNetModel(**config), seed)


def tiny_vae(seed: int = 1, **changes: Any) -> AutoencoderKL:
    config = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (4, 8, 8, 8),
        "layers_per_block": 1,
        "latent_channels": LATENT_CHANNELS,
        "norm_num_groups": 4,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
        "mid_block_add_attention": False,
        **changes,
    }
    return seeded(lambda: AutoencoderKL(**config), seed)


def tiny_clip(seed: int = 2) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tiny_clip_tokenizer()),
        hidden_size=POOLED_WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return seeded(lambda: CLIPTextModel(config), seed)


def tiny_t5(seed: int = 3) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tiny_t5_tokenizer()),
        d_model=TEXT_WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    return seeded(lambda: T5EncoderModel(config), seed)


def tiny_clip_tokenizer() -> CLIPTokenizer:
    """One token per letter."""
    letters = [*string.ascii_lowercase, *string.digits, *".,-"]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer(vocab={token: index for index, token in enumerate(tokens)}, merges=[], model_max_length=77)


def tiny_t5_tokenizer() -> T5TokenizerFast:
    """One token per word of the reference's sentence, else one per letter."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(f"▁{word}", -1.0) for word in WORDS]
    vocabulary += [(letter, -5.0) for letter in "▁" + string.ascii_letters + string.digits + ".,-"]
    return T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=T5_LENGTH)


def tiny_siglip(seed: int = 4, image_size: int = 384, patch_size: int = 14) -> SiglipVisionModel:
    config = SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=image_size,
        patch_size=patch_size,
        vision_use_head=False,
    )
    return seeded(lambda: SiglipVisionModel(config), seed)


def tiny_redux(seed: int = 5) -> Redux:
    embedder = seeded(lambda: ReduxImageEncoder(redux_dim=16, txt_in_features=TEXT_WIDTH), seed)
    return Redux(embedder=Resident(embedder), image_encoder=Resident(tiny_siglip()))


def tiny_pipeline(transformer: FluxTransformer2DModel | None = None, vae: AutoencoderKL | None = None) -> FluxPipeline:
    """The stock pipeline; ``save_pretrained`` writes a folder of it."""
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=vae or tiny_vae(),
        text_encoder=tiny_clip(),
        tokenizer=tiny_clip_tokenizer(),
        text_encoder_2=tiny_t5(),
        tokenizer_2=tiny_t5_tokenizer(),
        transformer=transformer or tiny_transformer(),
    )


def tiny_models(pipeline: FluxPipeline | None = None, redux: bool = False) -> BundleModels:
    """The components of a stock pipeline, as the bundle's."""
    pipeline = pipeline or tiny_pipeline()
    return BundleModels(
        transformer=Resident(pipeline.transformer),
        vae=Resident(pipeline.vae),
        text_encoder=Resident(pipeline.text_encoder),
        tokenizer=pipeline.tokenizer,
        text_encoder_2=Resident(pipeline.text_encoder_2),
        tokenizer_2=pipeline.tokenizer_2,
        redux=tiny_redux() if redux else None,
    )


def tiny_control_network(seed: int = 10, **changes: Any) -> ControlNet:
    return ControlNet(Resident(tiny_controlnet(seed, **changes)))
