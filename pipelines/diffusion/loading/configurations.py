"""The published configurations, as their folders state them, and what files of them hold.

Sources: specs/kiss3dgen.md 2.1, 3.5, 3.6, and the architectures of FLUX.1-dev, CLIP ViT-L/14, T5 v1.1 XXL and SigLIP
so400m.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FLUX_DEV: Mapping[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "out_channels": None,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
CONTROLNET_UNION: Mapping[str, Any] = {
    **{name: value for name, value in FLUX_DEV.items() if name != "out_channels"},
    "num_layers": 5,
    "num_single_layers": 10,
    "axes_dims_rope": [16, 56, 56],
    "num_mode": 10,
    "conditioning_embedding_channels": None,
}
FLUX_VAE: Mapping[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "norm_num_groups": 32,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": True,
}
CLIP_L: Mapping[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,  # stands for "the highest id of the prompt", which is the end-of-text token
    "pad_token_id": 1,
}
T5_XXL: Mapping[str, Any] = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": False,
    "tie_word_embeddings": False,
    "use_cache": False,
}
REDUX: Mapping[str, Any] = {"redux_dim": 1152, "txt_in_features": 4096}
SIGLIP_SO400M: Mapping[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 384,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
    "vision_use_head": False,
}

CLIP_HEAD_WIDTH = CLIP_L["hidden_size"] // CLIP_L["num_attention_heads"]
SIGLIP_HEAD_WIDTH = SIGLIP_SO400M["hidden_size"] // SIGLIP_SO400M["num_attention_heads"]


def rotary_axes(head_width: int) -> tuple[int, int, int]:
    """How FLUX divides a head among the axes (unused, row, column): 16, 56, 56 of 128, others in proportion."""
    spatial = 7 * head_width // 16 // 2 * 2
    return head_width - 2 * spatial, spatial, spatial
