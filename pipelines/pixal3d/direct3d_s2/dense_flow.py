"""The first flow of Pixal3D-D: where in the volume something is, one token for each voxel.

Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import torch

from ...errors import Bundle3DError
from ..flow_transformer import Condition
from .config import DenseFlowConfig
from .layers import CrossAttention, Flow, FlowBlock, FullAttention


class DenseFlow(Flow):
    """Full attention among the voxels of a small lattice."""

    def __init__(self, config: DenseFlowConfig) -> None:
        width, heads = config.width, config.heads
        blocks = [
            FlowBlock(
                config.hidden,
                FullAttention(width, heads, config.norms),
                CrossAttention(width, config.condition_width, heads, config.cross_norms),
            )
            for _ in range(config.blocks)
        ]
        super().__init__(config.channels, width, blocks)
        self.config = config

    def forward(
        self, features: torch.Tensor, time: float, condition: Condition, dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """The flow (R^3, C) from object to noise at ``features`` (R^3, C) of all voxels of one object, x slowest.

        ``time`` runs from 0 for the object to 1 for noise. Blocks compute in ``dtype``. Raises Bundle3DError where
        shapes disagree.
        """
        config = self.config
        count = config.resolution**3
        check_shapes(features, condition, (count, config.channels), config.condition_width)
        side = torch.arange(config.resolution, device=features.device)
        return self.flow(
            features, torch.cartesian_prod(side, side, side), time, condition.to(features.device, dtype), dtype
        )


def check_shapes(features: torch.Tensor, condition: Condition, expected: tuple[int, int], width: int) -> None:
    """Raise Bundle3DError unless features are as ``expected`` (N, C) and there is a condition (1, K, W), (N, W)."""
    tokens, projected = tuple(condition.tokens.shape), tuple(condition.projected.shape)
    fits = len(tokens) == 3 and (tokens[0], tokens[2]) == (1, width) and projected == (expected[0], width)
    if tuple(features.shape) != expected or not fits:
        raise Bundle3DError(
            f"Expected latents {expected} of one object, and of its picture tokens (1, K, {width}) and features "
            f"({expected[0]}, {width}), but got {tuple(features.shape)}, {tokens} and {projected}; use the latents and "
            "the picture of this stage."
        )
