"""What voxels are told of the picture: the features that appear where they are, with finer ones added.

Source: specs/pixal3d.md sections 1.4, 2.3 and 2.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...diffusion.holder import Holder
from ...errors import Bundle3DError
from ...volumes.back_projection import Sampler, back_project, map_sampler
from ..conditioning import Pictures, resized
from ..feature_upsampler import activation_bytes
from ..flow_transformer import Condition
from ..image_encoder import IMAGE_MEAN, IMAGE_STD, PictureFeatures, encode_pictures


@dataclass(frozen=True)
class SeenPicture:
    """``pictures`` of one view, ``image`` (3, S, S) as the encoder saw it, and the ``features`` it found."""

    pictures: Pictures
    image: torch.Tensor
    features: PictureFeatures


def see(encoder: Holder, pictures: Pictures) -> SeenPicture:
    """Encode a picture, at the size that the encoder was made for; raises Bundle3DError unless there is one view."""
    if len(pictures.cameras) != 1:
        raise Bundle3DError(
            f"Expected one picture of an object, but got {len(pictures.cameras)}; use Pixal3D for several views."
        )
    images = resized(pictures.images, encoder.module.config.image_size)
    return SeenPicture(pictures, images[0], encode_pictures(encoder, images))


def condition_voxels(
    seen: SeenPicture, places: torch.Tensor, resolution: int, upsampler: Holder | None = None
) -> Condition:
    """What voxels at ``places`` (N, 3) of a lattice of ``resolution``^3 are told, on the device of the encoder.

    With an ``upsampler``, NAF, features as fine as the picture are added to those of its patches.
    """
    pictures, patches = seen.pictures, seen.features.patches[0]
    sampler = map_sampler(patches) if upsampler is None else _with_finer(seen, upsampler)
    projected = back_project(
        [sampler],
        pictures.cameras,
        resolution,
        places.to(patches.device),
        seen.image.shape[-1],
        pictures.mesh_scale,
    )
    return Condition(seen.features.tokens, projected)


def _with_finer(seen: SeenPicture, holder: Holder) -> Sampler:
    """Unlike in the released variant, the picture that guides NAF is normalised, and its features are added."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    patches, size = seen.features.patches[0], seen.image.shape[-1]
    with holder.use(activation_bytes(holder.module.config, size, size, holder.compute_dtype)) as upsampler:
        fine = upsampler(
            ((seen.image - mean) / std).to(holder.compute_device, holder.compute_dtype),
            patches.to(holder.compute_device, holder.compute_dtype),
            size,
        )
    coarse = map_sampler(patches)
    return lambda coordinates: coarse(coordinates) + fine(coordinates.to(holder.compute_device)).to(patches)
