"""Small networks of Pixal3D written as users have the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.pixal3d.sample import every_voxel
from bundle3d.pipelines.pixal3d.settings import DECODERS, FLOWS, SAMPLERS
from bundle3d.pipelines.volumes.rotary import rotary_phases
from bundle3d.tests.pixal3d.make_small import SIGHTS
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
STEMS = {
    "sparse_structure_flow_model": "ckpts/ss_flow",
    "shape_slat_flow_model_512": "ckpts/slat_flow_512",
    "shape_slat_flow_model_1024": "ckpts/slat_flow_1024",
    "tex_slat_flow_model_1024": "ckpts/tex_flow",
    "sparse_structure_decoder": "microsoft/TRELLIS-image-large/ckpts/ss_dec",
    "shape_slat_decoder": "ckpts/shape_dec",
    "tex_slat_decoder": "ckpts/tex_dec",
}
# What tensors' names start with in ComfyUI's files.
COMFYUI_FLOWS = {
    "structure": "model.structure_model.",
    "shape": "model.img2shape_512.",
    "fine_shape": "model.img2shape.",
    "texture": "model.shape2txt.",
}
COMFYUI_DECODERS = {"structure": "struct_dec.", "shape": "shape_dec.", "texture": "txt_dec."}


def networks(models: Pixal3DModels) -> dict[str, torch.nn.Module]:
    """Flows and decoders by their names in pipeline.json."""
    flows = {FLOWS[stage]: getattr(models, stage).flow.module for stage in FLOWS}
    parts = {"structure": models.structure_decoder, "shape": models.shape_decoder, "texture": models.texture_decoder}
    return flows | {DECODERS[part]: holder.module for part, holder in parts.items()}


def write_state(path: Path, state: State, dtype: torch.dtype | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.clone() if dtype is None else tensor.to(dtype) for name, tensor in state.items()}
    save_file(kept, path)
    return path


def write_folder(folder: Path, models: Pixal3DModels, multiview: bool = False) -> Path:
    """The folder as published: settings, and for each network its tensors and a JSON file."""
    suffix = "_mv" if multiview else ""
    stems = {name: stem + (suffix if "flow" in stem else "") for name, stem in STEMS.items()}
    for name, network in networks(models).items():
        file = folder / "ckpts" / f"{Path(stems[name]).name}.safetensors"
        state = dict(network.state_dict())
        arguments = {}
        if "flow" in name:
            arguments = {"resolution": network.config.resolution}
        if name == "sparse_structure_flow_model":
            config = network.config
            phases = rotary_phases(every_voxel(1, config.resolution)[:, 1:], config.width // config.heads)
            state["rope_phases"] = torch.view_as_complex(phases)
        write_state(file, state)
        file.with_suffix(".json").write_text(json.dumps({"name": "any", "args": arguments}), encoding="utf-8")
    sampler = {
        "name": "FlowEulerGuidanceIntervalSampler",
        "args": {"sigma_min": 1e-5},
        "params": {
            "steps": 3, "guidance_strength": 2.0, "guidance_rescale": 0.25, "guidance_interval": [0.5, 0.9],
            "rescale_t": 4.0,
        },
    }  # fmt: skip
    settings = {
        "models": stems,
        "default_pipeline_type": "1536_cascade",
        **dict.fromkeys(SAMPLERS.values(), sampler),
        "shape_slat_normalization": {"mean": [0.5] * 6, "std": [2.0] * 6},
        "tex_slat_normalization": {"mean": [-0.5] * 6, "std": [3.0] * 6},
        "image_conditions": {
            stage: {"size": sight.size, "upsampled": sight.upsampled} for stage, sight in SIGHTS.items()
        },
    }
    content = {"name": "Pixal3DImageTo3DPipeline", "args": settings}
    (folder / f"pipeline{suffix}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}
