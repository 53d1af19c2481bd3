"""The whole large reconstruction model: from views with cameras to feature planes.

Source: specs/kiss3dgen.md section 5.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from .config import CAMERA_NUMBERS, LrmConfig
from .decoders import Decoder
from .image_encoder import ImageEncoder, normalise_images
from .triplane_transformer import TriplaneTransformer


class LargeReconstructionModel(nn.Module):
    """Encoder, transformer and decoders, under the published names.

    Encoder and transformer compute in the type of their weights. The decoders are few numbers and compute in float32,
    for the surface is where their result changes its sign.
    """

    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ImageEncoder(config)
        self.transformer = TriplaneTransformer(config)
        self.synthesizer = _Synthesizer(config)

    @property
    def decoder(self) -> Decoder:
        return self.synthesizer.decoder

    def planes(self, images: torch.Tensor, cameras: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """Feature planes (B, 3, C, h, w) float32 of views (B, V, 3, H, W), sRGB in [0, 1] on white.

        ``cameras`` (B, V, 16) as ``cameras.camera_vectors`` makes them. H and W are multiples of the patch size; the
        published model was trained with ``config.image_size``. ``progress`` counts layers and may cancel between them.
        Raises Bundle3DError where shapes disagree.
        """
        self._check(images, cameras)
        first = self.config.encoder_layers
        total = first + self.config.layers
        dtype = self.transformer.pos_embed.dtype
        tokens = self.encoder(
            normalise_images(images.float()).flatten(0, 1).to(dtype),
            cameras.flatten(0, 1).to(dtype),
            Stage(progress, 0, first, total),
        )
        context = tokens.unflatten(0, images.shape[:2]).flatten(1, 2)
        return self.transformer(context, Stage(progress, first, total, total)).float()

    def _check(self, images: torch.Tensor, cameras: torch.Tensor) -> None:
        patch = self.config.patch_size
        if images.ndim != 5 or images.shape[2] != 3 or images.shape[-1] % patch or images.shape[-2] % patch:
            raise Bundle3DError(
                f"Expected views of shape (B, V, 3, H, W) with sides that are multiples of {patch}, but got "
                f"{tuple(images.shape)}; resize them to {self.config.image_size}."
            )
        if cameras.shape != (*images.shape[:2], CAMERA_NUMBERS):
            raise Bundle3DError(
                f"Expected a camera of {CAMERA_NUMBERS} numbers for each of the views {tuple(images.shape[:2])}, but "
                f"got {tuple(cameras.shape)}; give a rig with as many cameras as views."
            )


class _Synthesizer(nn.Module):
    def __init__(self, config: LrmConfig) -> None:
        super().__init__()
        self.decoder = Decoder(config)
