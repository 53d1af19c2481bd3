"""What voxels are told of pictures: features of what appears where they are, averaged over the views.

Source: specs/pixal3d.md sections 2.3 to 2.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from ..volumes.back_projection import Sampler, back_project, map_sampler
from ..volumes.projection import GridCamera
from ..volumes.sparse_voxels import batch_lengths
from .feature_upsampler import activation_bytes
from .flow_transformer import Condition
from .image_encoder import PictureFeatures, encode_pictures
from .models import PictureModels, Sight


@dataclass(frozen=True)
class Pictures:
    """Views of one object: ``images`` (V, S, S, 3) in [0, 1] on black, and the camera of each.

    ``mesh_scale`` is how much smaller than the cube the object is that they show. Raises Bundle3DError unless they are
    square, as many as cameras, and at least one.
    """

    images: torch.Tensor
    cameras: tuple[GridCamera, ...]
    mesh_scale: float = 1.0

    def __post_init__(self) -> None:
        shape = tuple(self.images.shape)
        if len(shape) != 4 or shape[-1] != 3 or shape[1] != shape[2] or not shape[1]:
            raise Bundle3DError(
                f"Expected square pictures of shape (V, S, S, 3), but got {shape}; crop them to the object on black."
            )
        if shape[0] != len(self.cameras) or not self.cameras:
            raise Bundle3DError(
                f"Expected a camera for each of at least one picture, but got {len(self.cameras)} for {shape[0]}; give "
                "as many."
            )
        if not self.mesh_scale > 0:
            raise Bundle3DError(f"Expected a positive scale of the mesh, but got {self.mesh_scale}; choose 1.")


class SeenPictures:
    """Pictures of one object, encoded once for each size at which stages see them."""

    def __init__(self, models: PictureModels, pictures: Pictures) -> None:
        self.models = models
        self.pictures = pictures
        self._encoded: dict[int, tuple[torch.Tensor, PictureFeatures]] = {}

    @property
    def views(self) -> int:
        return len(self.pictures.cameras)

    @torch.no_grad()
    def condition(self, sight: Sight, coords: torch.Tensor, resolution: int, progress: Progress = silent) -> Condition:
        """What the voxels ``coords`` (N, 3) of a lattice of ``resolution``^3 are told, on the device of the encoder.

        Upsampled features are computed view by view and only where voxels appear. ``progress`` counts views.
        """
        images, features = self.encoded(sight.size)
        coords = coords.to(features.patches.device)
        total = None
        for view, camera in enumerate(self.pictures.cameras):
            seen = back_project(
                [self._sampler(images[view], features.patches[view], sight)],
                [camera],
                resolution,
                coords,
                sight.size,
                self.pictures.mesh_scale,
            )
            total = seen if total is None else total + seen
            progress(view + 1, self.views)
        assert total is not None
        return Condition(features.tokens.mean(0, keepdim=True), total / self.views)

    def encoded(self, size: int) -> tuple[torch.Tensor, PictureFeatures]:
        """Pictures (V, 3, size, size) and what is seen in them."""
        if size not in self._encoded:
            images = resized(self.pictures.images, size)
            self._encoded[size] = images, encode_pictures(self.models.encoder, images)
        return self._encoded[size]

    def _sampler(self, image: torch.Tensor, patches: torch.Tensor, sight: Sight) -> Sampler:
        coarse = map_sampler(patches)
        if sight.upsampled is None:
            return coarse
        holder = self.models.upsampler
        if holder is None:
            raise Bundle3DError(
                "Expected NAF to upsample the pictures' features, but it is not loaded; choose its file."
            )
        config = holder.module.config
        needed = activation_bytes(config, sight.size, sight.upsampled, holder.compute_dtype)
        with holder.use(needed) as upsampler:
            fine = upsampler(
                image.to(holder.compute_device, holder.compute_dtype),
                patches.to(holder.compute_device, holder.compute_dtype),
                sight.upsampled,
            )
        return lambda coordinates: torch.cat(
            (coarse(coordinates), fine(coordinates.to(holder.compute_device)).to(patches)), dim=1
        )


def condition_voxels(
    seen: Sequence[SeenPictures], sight: Sight, coords: torch.Tensor, resolution: int, progress: Progress = silent
) -> Condition:
    """What the voxels ``coords`` (N, 4) of a batch of objects are told, of each object's own pictures, on the device
    of the encoder.

    ``progress`` counts views of all objects. Raises Bundle3DError unless every object has voxels.
    """
    lengths = batch_lengths(coords)
    if len(lengths) != len(seen) or not all(lengths):
        raise Bundle3DError(
            f"Expected voxels of each of {len(seen)} objects, but got {lengths} voxels; use pictures and voxels of one "
            "batch."
        )
    conditions, done = [], 0
    total = sum(one.views for one in seen)
    for one, voxels in zip(seen, coords[:, 1:].split(lengths)):
        counting = Stage(progress, done, done + one.views, total)
        conditions.append(one.condition(sight, voxels, resolution, counting))
        done += one.views
    return Condition(
        torch.cat([condition.tokens for condition in conditions]),
        torch.cat([condition.projected for condition in conditions]),
    )


def resized(images: torch.Tensor, size: int) -> torch.Tensor:
    """Images (V, S, S, 3) in [0, 1] as (V, 3, size, size), by Pillow's Lanczos filter in 8 bit as in training."""
    bytes_ = (images.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    lanczos = Image.Resampling.LANCZOS
    pictures = [np.asarray(Image.fromarray(image).resize((size, size), lanczos)) for image in bytes_]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
