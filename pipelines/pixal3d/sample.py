"""The stages that draw latents: structure, shape coarse and fine, texture. Source: specs/pixal3d.md section 1.1.

All noise is drawn on the CPU in float32 from one generator that stages pass on, so that every device starts alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..errors import Bundle3DError
from ..progress import Progress, Stage, silent
from ..volumes.sparse_voxels import SparseVoxels
from .conditioning import SeenPictures, condition_voxels
from .config import FlowConfig
from .decode import structure_logits
from .latent_pictures import latent_picture, structure_picture
from .models import Pixal3DModels, StageModel
from .sampler import Picture, Sampling, sample_flow
from .transformer_layers import ROWS


@torch.no_grad()
def sample_structure(
    models: Pixal3DModels,
    seen: Sequence[SeenPictures],
    generator: torch.Generator,
    sampling: Sampling | None = None,
    progress: Progress = silent,
) -> torch.Tensor:
    """Latents (B, C, R, R, R) float32 of where there is something, axes x, y, z, for each of B objects.

    ``sampling`` takes the place of the models' own. ``progress`` counts views, then evaluations of the flow, and is
    shown the first object.
    """
    config = models.structure.flow.module.config
    side = config.resolution
    noise = torch.randn(len(seen), config.in_channels, side, side, side, generator=generator)
    voxels = SparseVoxels(every_voxel(len(seen), side), noise.flatten(2).transpose(1, 2).flatten(0, 1), side)

    def cubes(rows: torch.Tensor) -> torch.Tensor:
        return rows.unflatten(0, (len(seen), -1)).transpose(1, 2).unflatten(2, (side, side, side))

    def picture(foreseen: torch.Tensor) -> torch.Tensor:
        return structure_picture(structure_logits(models.structure_decoder, cubes(foreseen)[:1])[0, 0])

    return cubes(_draw(models.structure, seen, voxels, sampling, progress, dense=True, picture=picture))


@torch.no_grad()
def sample_shape(
    models: Pixal3DModels,
    seen: Sequence[SeenPictures],
    coords: torch.Tensor,
    generator: torch.Generator,
    sampling: Sampling | None = None,
    progress: Progress = silent,
    resolution: int | None = None,
) -> SparseVoxels:
    """Latents (N, C) float32 of the shape at the voxels ``coords`` (N, 4).

    With a ``resolution``, the side of the lattice of ``coords``, they are the fine ones that `upsample_shape` found;
    without it those of `decode_structure`. Raises Bundle3DError where there is no model for fine shapes.
    """
    stage = models.shape if resolution is None else models.fine_shape
    if stage is None:
        raise Bundle3DError(
            "Expected a flow for fine shapes, but these models have none; choose the coarse resolution."
        )
    config = stage.flow.module.config
    noise = torch.randn(len(coords), config.in_channels, generator=generator)
    voxels = SparseVoxels(coords.cpu(), noise, resolution or config.resolution)
    drawn = _draw(stage, seen, voxels, sampling, progress)
    return voxels.with_features(models.shape_normalisation.latents(drawn))


@torch.no_grad()
def sample_texture(
    models: Pixal3DModels,
    seen: Sequence[SeenPictures],
    shape: SparseVoxels,
    generator: torch.Generator,
    sampling: Sampling | None = None,
    progress: Progress = silent,
) -> SparseVoxels:
    """Latents (N, C) float32 of the texture at the voxels of the latents ``shape`` (N, C') of `sample_shape`.

    Raises Bundle3DError where there is no model for textures.
    """
    if models.texture is None:
        raise Bundle3DError("Expected a flow for textures, but these models have none; make the shape alone.")
    config = models.texture.flow.module.config
    noise = torch.randn(len(shape.coords), config.out_channels, generator=generator)
    voxels = SparseVoxels(shape.coords.cpu(), noise, shape.resolution)
    beside = models.shape_normalisation.drawn(shape.features.float().cpu())
    drawn = _draw(models.texture, seen, voxels, sampling, progress, beside)
    return voxels.with_features(models.texture_normalisation.latents(drawn))


def every_voxel(objects: int, resolution: int) -> torch.Tensor:
    """(B * R^3, 4) int32: all voxels of B lattices, x slowest."""
    side = torch.arange(resolution, dtype=torch.int32)
    return torch.cartesian_prod(torch.arange(objects, dtype=torch.int32), side, side, side)


def activation_bytes(config: FlowConfig, voxels: int, dtype: torch.dtype) -> int:
    """About what an evaluation of a flow needs beside the weights."""
    each = 14 * config.width + 2 * config.projected_width
    return (voxels * each + 3 * min(voxels, ROWS) * config.hidden) * dtype.itemsize


def _draw(
    stage: StageModel,
    seen: Sequence[SeenPictures],
    voxels: SparseVoxels,
    sampling: Sampling | None,
    progress: Progress,
    beside: torch.Tensor | None = None,
    dense: bool = False,
    picture: Picture | None = None,
) -> torch.Tensor:
    """(N, C) float32 on the CPU, from the noise at ``voxels``; the flow also sees ``beside`` (N, C') where given.

    ``picture`` shows what it foresees, by default of the first object in colours.
    """
    holder, sampling = stage.flow, sampling or stage.sampling
    views, evaluations = sum(one.views for one in seen), sampling.evaluations()
    total = views + evaluations
    progress(0, total)
    condition = condition_voxels(
        seen, stage.sight, voxels.coords, voxels.resolution, Stage(progress, 0, views, total)
    ).to(holder.compute_device, holder.compute_dtype)
    placed = replace(
        voxels, coords=voxels.coords.to(holder.compute_device), features=voxels.features.to(holder.compute_device)
    )
    beside = None if beside is None else beside.to(holder.compute_device)
    needed = activation_bytes(holder.module.config, len(voxels.coords), holder.compute_dtype)

    def velocity(state: torch.Tensor, time: float, conditioned: bool) -> torch.Tensor:
        features = state if beside is None else torch.cat((state, beside), dim=1)
        times = torch.full([len(seen)], time, dtype=torch.float64)
        with holder.use(needed) as flow:
            out: torch.Tensor = flow(
                placed.with_features(features), times, condition if conditioned else None, holder.compute_dtype
            )
        return out

    lengths = voxels.lengths()

    def first_object(foreseen: torch.Tensor) -> torch.Tensor:
        return latent_picture(voxels.coords[: lengths[0], 1:], foreseen[: lengths[0]], voxels.resolution)

    drawn = sample_flow(
        velocity,
        placed.features,
        sampling,
        lengths,
        dense,
        Stage(progress, views, total, total),
        picture or first_object,
    )
    return drawn.cpu()
