"""From pictures to voxels of shape and material: all stages one after the other.

Source: specs/pixal3d.md section 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from ..volumes.requantise import MOST_TOKENS
from ..volumes.sparse_voxels import SparseVoxels
from .conditioning import Pictures, SeenPictures
from .decode import DecodedShape, decode_shape, decode_structure, decode_texture, upsample_shape
from .models import Pixal3DModels
from .sample import sample_shape, sample_structure, sample_texture
from .sampler import Sampling

DECODING = 5  # of the progress, beside the evaluations of the flows


@dataclass(frozen=True)
class VoxelRequest:
    """What to draw. ``resolution`` is that of the shape, by default what the models were made for; their coarse one
    makes do without the fine stage, and has no texture where the texture's flow knows finer shapes only.
    ``most_tokens`` bounds its latents by lowering it. Samplings take the place of the models' own.
    """

    seed: int = 0
    resolution: int | None = None
    texture: bool = True
    most_tokens: int = MOST_TOKENS
    structure_sampling: Sampling | None = None
    shape_sampling: Sampling | None = None
    texture_sampling: Sampling | None = None


@dataclass(frozen=True)
class DrawnVoxels:
    """The shapes of a batch of objects, and the material (V, 6) of their voxels where there is one."""

    shape: DecodedShape
    material: SparseVoxels | None
    resolution: int


def draw_voxels(
    models: Pixal3DModels, pictures: Sequence[Pictures], request: VoxelRequest, progress: Progress = silent
) -> DrawnVoxels:
    """The objects that ``pictures`` show, one for each.

    One CPU generator, seeded with the request's seed, gives the noise of all stages in their order. Raises
    Bundle3DError for what the models cannot draw, and whatever ``progress`` raises to cancel.
    """
    resolution = request.resolution or models.resolution
    fine = resolution > models.coarse_resolution
    textured = request.texture and models.has_texture(resolution)
    check_request(models, request)
    generator = torch.Generator().manual_seed(request.seed)
    seen = [SeenPictures(models.pictures, one) for one in pictures]
    views = sum(one.views for one in seen)

    def cost(own: Sampling | None, default: Sampling) -> int:
        return views + (own or default).evaluations()

    shape_cost = cost(request.shape_sampling, models.shape.sampling)
    costs = [cost(request.structure_sampling, models.structure.sampling), shape_cost]
    costs += [DECODING, shape_cost] if fine else []
    if textured and models.texture is not None:
        costs += [cost(request.texture_sampling, models.texture.sampling), DECODING]
    costs.append(DECODING)
    ends = [sum(costs[: number + 1]) for number in range(len(costs))]
    slices = iter([Stage(progress, end - cost, end, ends[-1]) for cost, end in zip(costs, ends)])

    structure = sample_structure(models, seen, generator, request.structure_sampling, next(slices))
    coords = decode_structure(models, structure)
    latents = sample_shape(models, seen, coords, generator, request.shape_sampling, next(slices))
    if fine:
        coords, resolution = upsample_shape(models, latents, resolution, request.most_tokens, next(slices))
        lattice = resolution // models.factor
        latents = sample_shape(models, seen, coords, generator, request.shape_sampling, next(slices), lattice)
    material = (
        sample_texture(models, seen, latents, generator, request.texture_sampling, next(slices)) if textured else None
    )
    shape = decode_shape(models, latents, next(slices))
    if material is not None:
        material = decode_texture(models, material, shape, next(slices))
    return DrawnVoxels(shape, material, resolution)


def check_request(models: Pixal3DModels, request: VoxelRequest) -> None:
    """Raises Bundle3DError, before anything is computed, for a resolution that ``models`` cannot draw."""
    resolution = request.resolution or models.resolution
    if resolution == models.coarse_resolution:
        return
    if models.fine_shape is None or resolution % models.factor or resolution < models.coarse_resolution:
        finer = "" if models.fine_shape is None else f" or a finer multiple of {models.factor}"
        raise Bundle3DError(
            f"Expected a resolution of {models.coarse_resolution}{finer}, but got {resolution}; choose "
            f"{models.resolution}."
        )
    if request.most_tokens < 1:
        raise Bundle3DError(f"Expected at least one token, but got {request.most_tokens}; choose {MOST_TOKENS}.")
