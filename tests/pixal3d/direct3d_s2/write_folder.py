"""Small networks of Pixal3D-D in the folder that users have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from bundle3d.pipelines.pixal3d.direct3d_s2.config import DenseFlowConfig, SparseFlowConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.layers import place_embedding
from bundle3d.pipelines.pixal3d.direct3d_s2.models import Pixal3DDModels
from bundle3d.pipelines.pixal3d.direct3d_s2.settings import SCALE_FLOW, STAGES
from bundle3d.pipelines.pixal3d.sample import every_voxel
from bundle3d.tests.pixal3d.write_files import prefixed, write_state

CLASSES = {
    "dense": "pixal3d.models.transformers.dense_dit.DenseDiTDenoiser",
    "sparse": "pixal3d.models.transformers.sparse_dit.SparseDiTDenoiser",
}


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_dense_flow(folder: Path, flow: torch.nn.Module, config: DenseFlowConfig) -> None:
    settings = {
        "model_type": "dit", "model_class": CLASSES["dense"], "resolution": config.resolution, "patch_size": 1,
        "in_channels": config.channels, "num_heads": config.heads, "pe_mode": "ape", "image_attn_mode": "proj",
        "latent_shape": [config.channels, *[config.resolution] * 3],
    }  # fmt: skip
    write_json(folder / "config.json", settings)
    state = dict(flow.state_dict())
    state["pos_emb"] = place_embedding(every_voxel(1, config.resolution)[:, 1:], config.width)
    write_state(folder / "model.safetensors", prefixed("dit_model.", state))


def write_sparse_flow(folder: Path, flow: torch.nn.Module, config: SparseFlowConfig) -> None:
    settings = {
        "model_type": "dit", "model_class": CLASSES["sparse"], "resolution": config.resolution,
        "in_channels": config.channels, "num_heads": config.heads, "num_kv_heads": config.key_heads,
        "compression_block_size": config.compression, "selection_block_size": config.selection,
        "topk": config.most_selected, "window_size": config.window, "use_shift": config.shifted,
        "factor": config.position_scale, "image_attn_mode": "proj",
    }  # fmt: skip
    write_json(folder / "config.json", settings)
    write_state(folder / "model.safetensors", prefixed("dit_model.", dict(flow.state_dict())))


def write_folder(folder: Path, models: Pixal3DDModels) -> Path:
    """The folder as published, whose autoencoders have encoders too."""
    for name, stage in models.stages.items():
        own = folder / STAGES[name]
        flow, decoder = stage.flow.module, stage.decoder.module
        if name == "structure":
            write_dense_flow(own / "dit", flow, flow.config)
            settings: dict[str, Any] = {"model_type": "vae", "embed_dim": decoder.config.latent_channels}
        else:
            write_sparse_flow(own / "dit", flow, flow.config)
            config = decoder.config
            settings = {
                "model_type": "vae", "embed_dim": config.channels, "resolution": config.resolution,
                "num_heads_decoder": config.heads, "chunk_size": 4,
            }  # fmt: skip
        write_json(own / "vae" / "config.json", settings)
        encoder = {"encoder.input_layer.weight": torch.zeros(3, 2)}
        write_state(own / "vae" / "model.safetensors", encoder | prefixed("decoder.", dict(decoder.state_dict())))
        scheduler = {"num_train_timesteps": 1000, "shift": stage.sampling.shift}
        write_json(
            own / "scheduler" / "config.json",
            {
                "model_type": "scheduler",
                "scheduler_class": "diffusers.schedulers.FlowMatchEulerDiscreteScheduler",
                "scheduler_config": scheduler,
            },
        )
        conditioner = {
            "model": "facebookresearch/dinov2", "version": "dinov2_vitl14_reg",
            "size": models.encoder.module.config.image_size, "grid_resolution": stage.resolution,
            "use_upsample": stage.upsampled,
        }  # fmt: skip
        write_json(own / "conditioner" / "config.json", {"model_type": "conditioner", "config": conditioner})
    if models.scale_flow is not None:
        flow = models.scale_flow.module
        write_dense_flow(folder / STAGES["structure"] / SCALE_FLOW, flow, flow.config)
    return folder
