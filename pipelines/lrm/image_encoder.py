"""The image encoder: a vision transformer whose layers are modulated by the camera of the view.

Modules are named so that their tensors carry the names of the published checkpoints.
Source: specs/kiss3dgen.md sections 5.2 and 5.3.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..progress import Progress, silent
from .attention import attend
from .config import CAMERA_NUMBERS, LrmConfig

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NORM_EPS = 1e-12
# Added to the number of patches before the scale of the positions is computed; the published weights expect it.
POSITION_OFFSET = 0.1


def normalise_images(images: torch.Tensor) -> torch.Tensor:
    """Images (..., 3, H, W) in [0, 1] by the mean and deviation of ImageNet."""
    mean, std = (torch.tensor(values).to(images)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return (images - mean) / std


class ImageEncoder(nn.Module):
    """Tokens of views: patches and one token for the whole, each layer modulated by the view's camera."""

    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.model = _VisionTransformer(config)
        width = config.encoder_width
        self.camera_embedder = nn.Sequential(nn.Linear(CAMERA_NUMBERS, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, images: torch.Tensor, cameras: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Tokens (N, 1 + h * w, C) of normalised ``images`` (N, 3, H, W) and their ``cameras`` (N, 16).

        ``progress`` counts layers.
        """
        return self.model(images, self.camera_embedder(cameras), progress)


class _VisionTransformer(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        self.layernorm = nn.LayerNorm(config.encoder_width, eps=NORM_EPS)

    def forward(self, images: torch.Tensor, camera: torch.Tensor, progress: Progress) -> torch.Tensor:
        tokens = self.embeddings(images)
        for done, layer in enumerate(self.encoder.layer, start=1):
            tokens = layer(tokens, camera)
            progress(done, len(self.encoder.layer))
        return self.layernorm(tokens)


class _Layers(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.encoder_layers))


class _Embeddings(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        width, side = config.encoder_width, config.position_grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embeddings = nn.Parameter(torch.empty(1, 1 + side * side, width))
        self.patch_embeddings = _PatchEmbeddings(config)
        nn.init.normal_(self.position_embeddings, std=0.02)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embeddings.projection(images)
        height, width = patches.shape[-2:]
        first = self.cls_token.expand(images.shape[0], -1, -1)
        tokens = torch.cat((first, patches.flatten(2).transpose(1, 2)), dim=1)
        return tokens + self._positions(height, width).to(tokens)

    def _positions(self, height: int, width: int) -> torch.Tensor:
        """The learned positions, resampled for ``height`` x ``width`` patches."""
        learned = self.position_embeddings.float()
        side = round((learned.shape[1] - 1) ** 0.5)
        if (height, width) == (side, side):
            return learned
        grid = learned[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        # By a factor, not a size: the sampling step is then not side / height.
        factors = ((height + POSITION_OFFSET) / side, (width + POSITION_OFFSET) / side)
        grid = functional.interpolate(grid, scale_factor=factors, mode="bicubic", align_corners=False)
        return torch.cat((learned[:, :1], grid.flatten(2).transpose(1, 2)), dim=1)


class _PatchEmbeddings(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.projection = nn.Conv2d(3, config.encoder_width, kernel_size=size, stride=size)


class _Layer(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        width, hidden = config.encoder_width, config.encoder_hidden
        self.attention = _Attention(width, config.encoder_heads)
        self.intermediate = _Dense(width, hidden)
        self.output = _Dense(hidden, width)
        self.layernorm_before = nn.LayerNorm(width, eps=NORM_EPS)
        self.layernorm_after = nn.LayerNorm(width, eps=NORM_EPS)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 4 * width))
        modulation = self.adaLN_modulation[1]
        assert isinstance(modulation, nn.Linear)
        nn.init.zeros_(modulation.weight)  # a new model starts without modulation
        nn.init.zeros_(modulation.bias)

    def forward(self, tokens: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        modulation = self.adaLN_modulation(camera)[:, None]
        shift_attention, scale_attention, shift_mlp, scale_mlp = modulation.chunk(4, dim=-1)
        tokens = tokens + self.attention(self.layernorm_before(tokens) * (1 + scale_attention) + shift_attention)
        hidden = self.intermediate.dense(self.layernorm_after(tokens) * (1 + scale_mlp) + shift_mlp)
        return tokens + self.output.dense(functional.gelu(hidden))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = _QueryKeyValue(width)
        self.output = _Dense(width, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        project = self.attention
        attended = attend(project.query(tokens), project.key(tokens), project.value(tokens), self.heads)
        return self.output.dense(attended)


class _QueryKeyValue(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
