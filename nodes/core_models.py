"""A diffusers FLUX folder as ComfyUI's own MODEL, CLIP and VAE, whatever its dimensions.

ComfyUI's loaders expect FLUX.1's published sizes: 128 channels per head, rope axes of 16, 56 and 56, CLIP-L and T5-XXL
with their tokenizers, a VAE with groups of 32 channels. Here all of that comes from the folder's configuration.
Components of diffusers are ``Any``, because the classes that it exports are placeholders to a type checker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import comfy.latent_formats
import comfy.ldm.models.autoencoder
import comfy.model_base
import comfy.model_detection
import comfy.model_management as model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import comfy.text_encoders.flux
import comfy.text_encoders.t5
import comfy.utils
import torch
from torch import nn

from ..pipelines.diffusion.encode_prompt import LONGEST_PROMPT
from ..pipelines.diffusion.loading.casting import CastingLayer, cast_weights, main_dtype
from ..pipelines.diffusion.preview import preview_weights
from ..pipelines.errors import Bundle3DError
from .memory import FLOATS, OUT_OF_RANGE_IN_HALF, compute_dtype, hold_vae

if TYPE_CHECKING:
    from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

PATCH = 2  # latents along the side of an image token
T5_ACTIVATIONS = {"gelu_new": "gelu_pytorch_tanh", "gelu_pytorch_tanh": "gelu_pytorch_tanh", "relu": "relu"}


class FolderLatents(comfy.latent_formats.Flux):
    """FLUX's latents with the scale and the preview colours of another VAE."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.latent_channels = vae.config.latent_channels
        self.spacial_downscale_ratio = 2 ** (len(vae.config.block_out_channels) - 1)
        self.scale_factor = vae.config.scaling_factor
        self.shift_factor = vae.config.shift_factor or 0.0
        weights = preview_weights(hold_vae(vae)) * 2 - torch.eye(vae.config.latent_channels + 1)[:, -1:]
        self.latent_rgb_factors = weights[:-1].tolist()
        self.latent_rgb_factors_bias = weights[-1].tolist()
        self.taesd_decoder_name = None


def core_model(transformer: Any, vae: Any) -> Any:
    """A MODEL with the weights of ``transformer``, for latents of ``vae``; weights keep the type they are stored in.

    Raises Bundle3DError for weights of scaled fp8 files.
    """
    _refuse_scales(transformer, "transformer")
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    kind = comfy.supported_models.Flux if config.guidance_embeds else comfy.supported_models.FluxSchnell
    model_config = kind(
        {
            "image_model": "flux",
            "in_channels": config.in_channels // PATCH**2,
            "out_channels": (config.out_channels or config.in_channels) // PATCH**2,
            "patch_size": PATCH,
            "hidden_size": width,
            "mlp_ratio": 4.0,
            "num_heads": config.num_attention_heads,
            "depth": config.num_layers,
            "depth_single_blocks": config.num_single_layers,
            "axes_dim": list(config.axes_dims_rope),
            "theta": 10000,
            "qkv_bias": True,
            "guidance_embed": config.guidance_embeds,
            "context_in_dim": config.joint_attention_dim,
            "vec_in_dim": config.pooled_projection_dim,
            "txt_ids_dims": [],
        }
    )
    model_config.latent_format = FolderLatents(vae)
    device, offload_device = model_management.get_torch_device(), model_management.unet_offload_device()
    stored = main_dtype(transformer.parameters())
    computing = compute_dtype(transformer, device, FLOATS)
    model_config.set_inference_dtype(stored, None if computing == stored else computing)
    weights = dict(transformer.state_dict())
    # ComfyUI swaps the halves of these in place.
    weights |= {name: weight.clone() for name, weight in weights.items() if name.startswith("norm_out.")}
    converted = comfy.model_detection.convert_diffusers_mmdit(weights)
    model = model_config.get_model(converted)
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=offload_device)
    model.load_model_weights(converted, assign=patcher.is_dynamic())
    return patcher


class FolderAutoencoder(nn.Module):
    """An autoencoder of diffusers as ComfyUI calls its own."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.sample_size = inner.config.sample_size

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """The mean of the latents' distribution, unscaled, as ComfyUI's own autoencoders give it."""
        mean: torch.Tensor = self.inner.encode(pixels).latent_dist.mode()
        return mean

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1] of unscaled latents."""
        decoded: torch.Tensor = self.inner.decode(latents).sample
        return decoded


def core_vae(vae: Any) -> Any:
    """A VAE that computes as the diffusers autoencoder ``vae`` does, of any widths and group sizes.

    ComfyUI's own class of autoencoders has groups of 32 channels; a very small one of them stands in while the VAE is
    made, so that everything else about it is ComfyUI's.
    """
    channels = vae.config.latent_channels
    stages = {"ch": 32, "ch_mult": [1], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    shape = {"double_z": True, "z_channels": channels, "resolution": 256, "in_channels": 3, "out_ch": 3}
    params = {"embed_dim": channels, "ddconfig": stages | shape}
    stand_in = comfy.ldm.models.autoencoder.AutoencoderKL(**params).state_dict()
    result = comfy.sd.VAE(sd=stand_in, config={"params": params})
    result.first_stage_model = FolderAutoencoder(cast_weights(vae, result.vae_dtype)).eval()
    result.latent_channels = channels
    result.downscale_ratio = result.upscale_ratio = 2 ** (len(vae.config.block_out_channels) - 1)
    result.size = model_management.module_size(result.first_stage_model)
    result.patcher = comfy.model_patcher.CoreModelPatcher(
        result.first_stage_model, load_device=result.device, offload_device=model_management.vae_offload_device()
    )
    return result


class FolderTokenizer:
    """CLIP's and T5's tokenizers of a folder, padded and cut as FLUX's pipeline does it; brackets give no weights."""

    def __init__(self, clip: PreTrainedTokenizerBase, t5: PreTrainedTokenizerBase) -> None:
        self.clip, self.t5 = clip, t5

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **options: Any) -> dict[str, Any]:
        """Both encoders' tokens of ``text``, each with weight 1."""
        lengths = {"l": self.clip.model_max_length, "t5xxl": min(LONGEST_PROMPT, self.t5.model_max_length)}
        found = {}
        for name, tokenizer in (("l", self.clip), ("t5xxl", self.t5)):
            ids = tokenizer(text, padding="max_length", max_length=lengths[name], truncation=True).input_ids
            found[name] = [[(token, 1.0, 0) if return_word_ids else (token, 1.0) for token in ids]]
        return found

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the vocabularies stay in the folder."""
        return {}


class FolderClip(comfy.text_encoders.flux.FluxClipModel):
    """FLUX's pair of text encoders with the dimensions of a folder."""

    def __init__(
        self,
        clip_config: dict[str, Any],
        t5_config: dict[str, Any],
        clip_dtype: torch.dtype,
        t5_dtype: torch.dtype,
        device: Any = "cpu",
        dtype: torch.dtype | None = None,
        model_options: dict[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)
        shared = {"device": device, "model_options": model_options or {}}
        self.clip_l = comfy.sd1_clip.SDClipModel(
            textmodel_json_config=clip_config,
            max_length=clip_config["max_position_embeddings"],
            special_tokens=clip_config["special_tokens"],
            return_projected_pooled=False,
            dtype=clip_dtype,
            **shared,
        )
        self.t5xxl = comfy.sd1_clip.SDClipModel(
            textmodel_json_config=t5_config,
            special_tokens=t5_config["special_tokens"],
            model_class=comfy.text_encoders.t5.T5,
            dtype=t5_dtype,
            **shared,
        )
        # ComfyUI's CLIP has room for CLIP-L's vocabulary only.
        words, width = clip_config["vocab_size"], clip_config["hidden_size"]
        embedding = self.clip_l.operations.Embedding(words, width, device=device, dtype=clip_dtype)
        self.clip_l.transformer.set_input_embeddings(embedding)
        self.dtypes = {clip_dtype, t5_dtype}

    def load_sd(self, sd: dict[str, torch.Tensor]) -> Any:
        """Loads the weights of one of the two, told apart by their names."""
        encoder = self.clip_l if any(name.startswith("text_model.") for name in sd) else self.t5xxl
        return encoder.load_sd(sd)


def core_clip(
    clip: CLIPTextModel,
    clip_tokenizer: PreTrainedTokenizerBase,
    t5: T5EncoderModel,
    t5_tokenizer: PreTrainedTokenizerBase,
) -> Any:
    """A CLIP with both encoders and tokenizers of a folder; weights keep the type they are stored in.

    Raises Bundle3DError for a T5 with an activation that ComfyUI's T5 does not have, and for weights of scaled fp8
    files.
    """
    _refuse_scales(clip, "CLIP")
    _refuse_scales(t5, "T5")
    t5_config = t5.config.to_dict()
    activation = T5_ACTIVATIONS.get(t5_config["dense_act_fn"])
    if activation is None:
        raise Bundle3DError(
            f"Expected a T5 encoder with the activation {' or '.join(T5_ACTIVATIONS)}, but this one has "
            f"{t5_config['dense_act_fn']!r}, which ComfyUI's T5 lacks; use Generate Bundle for these models."
        )
    t5_config["dense_act_fn"] = activation
    t5_config["special_tokens"] = {"end": t5_tokenizer.eos_token_id, "pad": t5_tokenizer.pad_token_id}
    clip_config = clip.config.to_dict()
    clip_config["special_tokens"] = {
        "start": clip_tokenizer.bos_token_id, "end": clip_tokenizer.eos_token_id, "pad": clip_tokenizer.pad_token_id
    }  # fmt: skip
    target = comfy.supported_models_base.ClipTarget(None, FolderClip)
    target.tokenizer = lambda **options: FolderTokenizer(clip_tokenizer, t5_tokenizer)
    device = model_management.text_encoder_device()
    target.params = {
        "clip_config": clip_config,
        "t5_config": t5_config,
        "clip_dtype": _storage(clip, device),
        "t5_dtype": _storage(t5, device),
    }
    clip_weights = {
        name if name.startswith("text_model.") else f"text_model.{name}": weight
        for name, weight in clip.state_dict().items()
    }
    # FLUX does not read the projection, but ComfyUI looks for it.
    clip_weights.setdefault("text_projection.weight", torch.eye(clip.config.hidden_size))
    parameters = comfy.utils.calculate_parameters(clip_weights) + comfy.utils.calculate_parameters(t5.state_dict())
    return comfy.sd.CLIP(target, parameters=parameters, state_dict=[clip_weights, dict(t5.state_dict())])


def _refuse_scales(network: nn.Module, part: str) -> None:
    """Scales are no part of a network's state, so ComfyUI would compute with the bare fp8 numbers."""
    if any(isinstance(layer, CastingLayer) and layer.weight_scale is not None for layer in network.modules()):
        raise Bundle3DError(
            f"Expected plain weights for ComfyUI's own nodes, but those of the folder's {part} are scaled fp8; use "
            "Load Bundle Models and Generate Bundle, or the folder in bf16."
        )


def _storage(encoder: nn.Module, device: torch.device) -> torch.dtype:
    """The type most of an encoder's weights are in, unless the device cannot cast from it."""
    stored = main_dtype(encoder.parameters())
    return (
        stored
        if model_management.supports_cast(device, stored)
        else compute_dtype(encoder, device, OUT_OF_RANGE_IN_HALF)
    )
