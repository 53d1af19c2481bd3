"""Models and planes whose fields are known: decoders that add up what is written into the planes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from bundle3d.pipelines.lrm.model import LargeReconstructionModel
from bundle3d.tests.lrm.make_small import SMALL
from torch import nn

SIZE = 128  # texels per side of a plane
BOUND = 4.0  # a plane's part of a distance is at most this; outside of the planes nothing is subtracted from it
Part = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def zero(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(u)


def known_field(
    xy: Part, xz: Part, zy: Part, material: bool = True, resolution: int = 48, scale: float = 2.1
) -> tuple[LargeReconstructionModel, torch.Tensor]:
    """A model and planes whose distance is ``xy(x, y) + xz(x, z) + zy(z, y)`` in the model's frame.

    Red grows with x, green with y and blue with z, from 0 at -1 through the sigmoid of 4 times the coordinate.
    """
    config = replace(SMALL, material=material, linear_color=material, grid_resolution=resolution, grid_scale=scale)
    model = LargeReconstructionModel(config).eval().requires_grad_(False)
    centres = (torch.arange(SIZE) + 0.5) * (2 / SIZE) - 1
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    planes = torch.zeros(3, config.plane_channels, SIZE, SIZE)
    for plane, part in enumerate((xy, xz, zy)):
        planes[plane, 0] = BOUND - part(u, v)
    planes[0, 1], planes[0, 2], planes[1, 1] = u, v, v
    for parameter in model.decoder.parameters():
        parameter.zero_()
    channels = config.plane_channels
    _pass_sum(model.decoder.net_sdf, [0, channels, 2 * channels])
    model.decoder.net_sdf[-1].weight.neg_()
    model.decoder.net_sdf[-1].bias.fill_(3 * BOUND)
    for output, feature in enumerate((1, 2, channels + 1)):
        _pass_value(model.decoder.net_rgb, output, feature)
    return model, planes


def _pass_sum(net: nn.Sequential, inputs: list[int]) -> None:
    net[0].weight[0, inputs] = 1.0
    for layer in net[2::2]:
        layer.weight[0, 0] = 1.0


def _pass_value(net: nn.Sequential, output: int, feature: int) -> None:
    """Four times the feature; it is shifted through the ReLUs, which let only what is positive pass."""
    net[0].weight[output, feature], net[0].bias[output] = 1.0, 2.0
    for layer in net[2:-1:2]:
        layer.weight[output, output] = 1.0
    net[-1].weight[output, output], net[-1].bias[output] = 4.0, -8.0
