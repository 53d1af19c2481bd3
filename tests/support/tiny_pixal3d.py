"""A Pixal3D family of random weights that computes in a second, in the files that users have."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.pixal3d.settings import DECODERS, FLOWS
from bundle3d.tests.pixal3d.make_small import small_models
from bundle3d.tests.pixal3d.write_files import (
    COMFYUI_DECODERS,
    COMFYUI_FLOWS,
    STEMS,
    networks,
    prefixed,
    write_folder,
    write_state,
)

PICTURE_FILE = "dinov3_naf.safetensors"
STEPS = 3  # of every stage, as the settings of the folder say
RESOLUTION = 64


def full_models() -> Pixal3DModels:
    """Those of the tests with more in them, so that there is a surface whatever the seed."""
    models = small_models()
    models.structure_decoder.module.out_layer[2].bias += 0.1
    decoder = models.shape_decoder.module
    decoder.output_layer.bias[3:6] += 1.0  # edges that the surface crosses
    for name, parameter in decoder.named_parameters():
        if name.endswith("to_subdiv.bias"):
            parameter += 0.2
    return models


def save_tiny_pixal3d(folder: Path) -> Path:
    """Writes the published folder, with flows for one view and for several and with what sees pictures in it."""
    models = full_models()
    for multiview in (False, True):
        write_folder(folder, models, multiview)
    save_picture_file(folder / PICTURE_FILE, models)
    return folder


def save_picture_file(path: Path, models: Pixal3DModels | None = None) -> Path:
    """Writes DINOv3 and NAF in one file, as ComfyUI's is."""
    pictures = (models or small_models()).pictures
    assert pictures.upsampler is not None
    state = dict(pictures.encoder.module.state_dict())
    return write_state(path, state | prefixed("naf.", pictures.upsampler.module.state_dict()))


def save_comfyui_files(flows: Path, shape_decoders: Path, texture_decoder: Path) -> None:
    """Writes ComfyUI's files: all flows, the decoders of structure and shape, that of textures."""
    states = {name: dict(network.state_dict()) for name, network in networks(full_models()).items()}
    of_flows: dict[str, torch.Tensor] = {}
    for stage, prefix in COMFYUI_FLOWS.items():
        of_flows |= prefixed(prefix, states[FLOWS[stage]])
    write_state(flows, of_flows)
    parts = {part: prefixed(prefix, states[DECODERS[part]]) for part, prefix in COMFYUI_DECODERS.items()}
    write_state(shape_decoders, parts["structure"] | parts["shape"])
    write_state(texture_decoder, parts["texture"])


def copy_flow_files(source: Path, target: Path) -> dict[str, str]:
    """Copies the flows of a tiny folder as single files with their JSON files; their names by stage."""
    names = {}
    target.mkdir(parents=True, exist_ok=True)
    for stage, model in FLOWS.items():
        stem = Path(STEMS[model]).name
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(source / "ckpts" / f"{stem}{suffix}", target / f"{stem}{suffix}")
        names[stage] = f"{stem}.safetensors"
    return names
