"""The transformer that turns the tokens of all views into three feature planes.

Source: specs/kiss3dgen.md sections 5.2 and 5.5.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..progress import Progress, silent
from .attention import attend
from .config import LrmConfig

FINAL_NORM_EPS = 1e-6  # the norms of the blocks have torch's default of 1e-5


class TriplaneTransformer(nn.Module):
    """Learned queries, one per position of a coarse plane, that look at the views and at each other."""

    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.plane_size = config.plane_size
        self.pos_embed = nn.Parameter(torch.empty(1, 3 * config.plane_size**2, config.width))
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, eps=FINAL_NORM_EPS)
        self.deconv = nn.ConvTranspose2d(
            config.width, config.plane_channels, kernel_size=config.upscale, stride=config.upscale
        )
        nn.init.normal_(self.pos_embed, std=config.width**-0.5)

    def forward(self, context: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Planes (B, 3, C, h, w) of the tokens ``context`` (B, T, encoder width) of all views.

        ``progress`` counts layers.
        """
        tokens = self.pos_embed.expand(context.shape[0], -1, -1)
        for done, layer in enumerate(self.layers, start=1):
            tokens = layer(tokens, context)
            progress(done, len(self.layers))
        grid = self.norm(tokens).unflatten(1, (3, self.plane_size, self.plane_size))
        planes = self.deconv(grid.flatten(0, 1).permute(0, 3, 1, 2))
        return planes.unflatten(0, (-1, 3))


class _Block(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.cross_attn = _CrossAttention(width, config.encoder_width, config.heads)
        self.self_attn = _SelfAttention(width, config.heads)
        # Published checkpoints number the second layer 3.
        self.mlp = nn.Sequential(
            nn.Linear(width, config.hidden), nn.GELU(), nn.Identity(), nn.Linear(config.hidden, width)
        )

    def forward(self, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.cross_attn(self.norm1(tokens), context)
        tokens = tokens + self.self_attn(self.norm2(tokens))
        return tokens + self.mlp(self.norm3(tokens))


class _CrossAttention(nn.Module):
    def __init__(self, width: int, context_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj_weight = _matrix(width, width)
        self.k_proj_weight = _matrix(width, context_width)
        self.v_proj_weight = _matrix(width, context_width)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, tokens: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        query = functional.linear(tokens, self.q_proj_weight)
        key = functional.linear(context, self.k_proj_weight)
        value = functional.linear(context, self.v_proj_weight)
        return self.out_proj(attend(query, key, value, self.heads))


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = _matrix(3 * width, width)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = functional.linear(tokens, self.in_proj_weight).chunk(3, dim=-1)
        return self.out_proj(attend(query, key, value, self.heads))


def _matrix(rows: int, columns: int) -> nn.Parameter:
    matrix = nn.Parameter(torch.empty(rows, columns))
    nn.init.xavier_uniform_(matrix)
    return matrix
