"""The second and third flow of Pixal3D-D: signed distances near the surface, in latents at sparse voxels.

Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

import torch
from torch import nn

from ..flow_transformer import Condition
from .config import SparseFlowConfig
from .dense_flow import check_shapes
from .layers import CrossAttention, Flow, FlowBlock, place_embedding
from .sparse_layout import SparseLayout
from .spatial_attention import SpatialSparseAttention


class SparseFlow(Flow):
    """Spatial sparse attention among the voxels of an object."""

    def __init__(self, config: SparseFlowConfig) -> None:
        width = config.width
        blocks = [
            FlowBlock(
                config.hidden,
                SpatialSparseAttention(config, config.shift(block)),
                CrossAttention(width, config.condition_width, config.heads, config.cross_norms),
            )
            for block in range(config.blocks)
        ]
        super().__init__(config.channels, width, blocks)
        self.config = config
        self.cond_proj = nn.Linear(config.condition_width, config.condition_width) if config.projects else None

    def forward(
        self,
        features: torch.Tensor,
        layout: SparseLayout,
        time: float,
        condition: Condition,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """The flow (N, C) from object to noise at ``features`` (N, C) of the voxels of ``layout``.

        As of `DenseFlow`; voxels may come in any order. Raises Bundle3DError where shapes disagree.
        """
        config, places = self.config, layout.places
        check_shapes(features, condition, (len(places), config.channels), config.condition_width)
        condition = condition.to(features.device, dtype)
        if self.cond_proj is not None:
            placed = self.cond_proj(condition.projected) + place_embedding(places, config.width).to(dtype)
            condition = Condition(condition.tokens, placed)
        return self.flow(features, places * config.position_scale, time, condition, dtype, layout)
