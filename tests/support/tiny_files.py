"""Random-weight FLUX components written as the files that users have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
TRANSFORMER_PREFIX = "model.diffusion_model."
CLIP_PREFIX = "text_encoders.clip_l.transformer."
T5_PREFIX = "text_encoders.t5xxl.transformer."
VAE_PREFIX = "vae."


def write(path: Path, state: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None) -> Path:
    """A safetensors file of ``state``, in ``dtype`` if one is given."""
    save_file(
        {name: tensor.to(dtype or tensor.dtype).clone().contiguous() for name, tensor in state.items()}, str(path)
    )
    return path


def rounded(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    """The module with its weights rounded to ``dtype``, in float32: what a file in ``dtype`` must compute like."""
    module.load_state_dict({name: tensor.to(dtype).float() for name, tensor in module.state_dict().items()})
    return module


def prefixed(state: Mapping[str, torch.Tensor], prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def original_transformer(transformer: FluxTransformer2DModel) -> State:
    """A transformer's tensors under Black Forest Labs' names: some layers fused, shift before scale at the end."""
    ours = transformer.state_dict()
    state: State = {}

    def put(name: str, *parts: str) -> None:
        for kind in ("weight", "bias"):
            state[f"{name}.{kind}"] = torch.cat([ours[f"{part}.{kind}"] for part in parts])

    embedder = "time_text_embed"
    put("img_in", "x_embedder")
    put("txt_in", "context_embedder")
    for name, part in (
        ("time_in", "timestep_embedder"),
        ("vector_in", "text_embedder"),
        ("guidance_in", "guidance_embedder"),
    ):
        if f"{embedder}.{part}.linear_1.weight" in ours:
            put(f"{name}.in_layer", f"{embedder}.{part}.linear_1")
            put(f"{name}.out_layer", f"{embedder}.{part}.linear_2")
    for i in range(transformer.config.num_layers):
        block, there = f"double_blocks.{i}", f"transformer_blocks.{i}"
        for stream, norm, qkv, out, feed in (
            ("img", "norm1", ("to_q", "to_k", "to_v"), "to_out.0", "ff"),
            ("txt", "norm1_context", ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out", "ff_context"),
        ):
            put(f"{block}.{stream}_mod.lin", f"{there}.{norm}.linear")
            put(f"{block}.{stream}_attn.qkv", *(f"{there}.attn.{part}" for part in qkv))
            put(f"{block}.{stream}_attn.proj", f"{there}.attn.{out}")
            put(f"{block}.{stream}_mlp.0", f"{there}.{feed}.net.0.proj")
            put(f"{block}.{stream}_mlp.2", f"{there}.{feed}.net.2")
            middle = "added_" if stream == "txt" else ""
            state[f"{block}.{stream}_attn.norm.query_norm.scale"] = ours[f"{there}.attn.norm_{middle}q.weight"]
            state[f"{block}.{stream}_attn.norm.key_norm.scale"] = ours[f"{there}.attn.norm_{middle}k.weight"]
    for i in range(transformer.config.num_single_layers):
        block, there = f"single_blocks.{i}", f"single_transformer_blocks.{i}"
        put(f"{block}.modulation.lin", f"{there}.norm.linear")
        put(f"{block}.linear1", *(f"{there}.{part}" for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")))
        put(f"{block}.linear2", f"{there}.proj_out")
        state[f"{block}.norm.query_norm.scale"] = ours[f"{there}.attn.norm_q.weight"]
        state[f"{block}.norm.key_norm.scale"] = ours[f"{there}.attn.norm_k.weight"]
    put("final_layer.linear", "proj_out")
    for kind in ("weight", "bias"):
        scale, shift = ours[f"norm_out.linear.{kind}"].chunk(2)
        state[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
    return state


def original_vae(vae: AutoencoderKL) -> State:
    """A VAE's tensors under the original names: the decoder's levels from the finest, attention as convolutions."""
    levels = len(vae.config.block_out_channels)
    state: State = {}
    for name, tensor in vae.state_dict().items():
        coder, *rest = name.split(".")
        match rest:
            case ["down_blocks", level, "resnets", number, *end]:
                new = ["down", level, "block", number, *end]
            case ["down_blocks", level, "downsamplers", "0", *end]:
                new = ["down", level, "downsample", *end]
            case ["up_blocks", level, "resnets", number, *end]:
                new = ["up", str(levels - 1 - int(level)), "block", number, *end]
            case ["up_blocks", level, "upsamplers", "0", *end]:
                new = ["up", str(levels - 1 - int(level)), "upsample", *end]
            case ["mid_block", "resnets", number, *end]:
                new = ["mid", f"block_{int(number) + 1}", *end]
            case ["mid_block", "attentions", "0", *end]:
                names = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
                new = ["mid", "attn_1", names[end[0]], end[-1]]
                tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
            case ["conv_norm_out", *end]:
                new = ["norm_out", *end]
            case end:
                new = list(end)
        new = ["nin_shortcut" if part == "conv_shortcut" else part for part in new]
        state[".".join([coder, *new])] = tensor
    return state
