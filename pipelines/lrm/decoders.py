"""The small networks that read shape, colour and material off the features of a point.

Source: specs/kiss3dgen.md sections 5.2 and 5.7.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from .config import LrmConfig

CORNERS, CUBE_WEIGHTS = 8, 21
WEIGHT_FACTOR = 0.1
COLOR_RANGE, COLOR_SHIFT = 1.002, 0.001
LEAST_ROUGHNESS = 0.0016


class Decoder(nn.Module):
    """One perceptron with ReLU for each quantity; features are (..., 3 * plane channels)."""

    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        features = 3 * config.plane_channels

        def perceptron(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(*_layers(inputs, config.decoder_width, config.decoder_layers, outputs))

        self.net_sdf = perceptron(features, 1)
        self.net_rgb = perceptron(features, 3)
        self.net_deformation = perceptron(features, 3)
        self.net_weight = perceptron(CORNERS * features, CUBE_WEIGHTS)
        self.net_material = perceptron(features, 2) if config.material else None

    def sdf(self, features: torch.Tensor) -> torch.Tensor:
        """Distances (...) to the surface, negative inside."""
        return self.net_sdf(features)[..., 0]

    def deformation(self, features: torch.Tensor) -> torch.Tensor:
        """Raw, unbounded displacements (..., 3) of grid vertices."""
        return self.net_deformation(features)

    def cube_weights(self, corner_features: torch.Tensor) -> torch.Tensor:
        """Raw FlexiCubes weights (..., 21) of cubes from the features (..., 8, F) of their corners."""
        return self.net_weight(corner_features.flatten(-2)) * WEIGHT_FACTOR

    def color(self, features: torch.Tensor) -> torch.Tensor:
        """Colours (..., 3), from a little below 0 to a little above 1."""
        return torch.sigmoid(self.net_rgb(features)) * COLOR_RANGE - COLOR_SHIFT

    def material(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Metallic and roughness (...) in [0, 1]; only where the model has ``net_material``."""
        assert self.net_material is not None
        metallic, roughness = torch.sigmoid(self.net_material(features)).unbind(-1)
        return metallic, roughness * (1.0 - LEAST_ROUGHNESS) + LEAST_ROUGHNESS


def _layers(inputs: int, width: int, count: int, outputs: int) -> Iterator[nn.Module]:
    sizes = [inputs] + [width] * (count - 1) + [outputs]
    for index in range(count):
        if index:
            yield nn.ReLU()
        yield nn.Linear(sizes[index], sizes[index + 1])
