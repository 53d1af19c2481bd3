"""The small model of the golden numbers: its dimensions, and weights that anyone can compute again."""

from __future__ import annotations

import zlib
from dataclasses import replace

import torch
from bundle3d.pipelines.lrm.config import LrmConfig
from bundle3d.pipelines.lrm.field import TriplaneField
from bundle3d.pipelines.lrm.model import LargeReconstructionModel

SMALL = LrmConfig(
    image_size=96,
    encoder_width=48,
    encoder_hidden=96,
    encoder_layers=2,
    encoder_heads=4,
    width=64,
    hidden=256,
    layers=2,
    heads=4,
    plane_size=4,
    plane_channels=8,
    grid_resolution=16,
)


def sine_weights(name: str, shape: torch.Size, amplitude: float) -> torch.Tensor:
    """Waves whose phase depends on the tensor's name; around one for the weights of norms. Spec: section 12.1."""
    index = torch.arange(1, shape.numel() + 1, dtype=torch.float64)
    phase = zlib.crc32(name.encode()) % 1000 / 100
    values = (0.6 if name.startswith("synthesizer.") else amplitude) * torch.sin(0.37 * index + phase)
    module, _, kind = name.rpartition(".")
    return (values + (kind == "weight" and "norm" in module)).float().reshape(shape)


def small_model(material: bool = True) -> LargeReconstructionModel:
    model = LargeReconstructionModel(replace(SMALL, material=material, linear_color=material)).eval()
    weights = {name: sine_weights(name, tensor.shape, 0.1) for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    return model.requires_grad_(False)


def wave_images(size: int) -> torch.Tensor:
    """(1, 4, 3, size, size) in [0, 1]."""
    index = torch.arange(4 * 3 * size * size, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(0.013 * index)).float().reshape(1, 4, 3, size, size)


def wave_points(count: int = 64) -> torch.Tensor:
    """(count, 3), some of them outside the planes."""
    return (1.05 * torch.sin(0.7 * torch.arange(3 * count, dtype=torch.float64))).float().reshape(count, 3)


def put_surface(model: LargeReconstructionModel, images: torch.Tensor, cameras: torch.Tensor) -> None:
    """Shifts the distances of a model, in place, so that half of the space around these views' object is inside."""
    axis = torch.linspace(-1.0, 1.0, 17)
    with torch.no_grad():
        sdf = TriplaneField(model.decoder, model.planes(images, cameras)[0]).sdf_grid(axis)
        model.decoder.net_sdf[-1].bias -= sdf.median()
