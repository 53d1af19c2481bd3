"""The stages of small random networks one after the other, as a graph of nodes runs them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from bundle3d.pipelines.pixal3d.decode import (
    DecodedShape,
    decode_shape,
    decode_structure,
    decode_texture,
    upsample_shape,
)
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.pixal3d.sample import sample_shape, sample_structure, sample_texture
from bundle3d.pipelines.pixal3d.sampler import Sampling
from bundle3d.pipelines.progress import Progress, silent
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import disc, seen

FAST = Sampling(steps=2)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass
class Made:
    structure: torch.Tensor
    coarse: SparseVoxels
    fine: SparseVoxels
    texture: SparseVoxels
    shape: DecodedShape
    material: SparseVoxels


def make(models: Pixal3DModels, seed: int = 0, progress: Progress = silent, views: int = 1) -> Made:
    generator, pictures = noise(seed), seen(models, disc(views))
    structure = sample_structure(models, pictures, generator, FAST, progress)
    coarse = sample_shape(models, pictures, decode_structure(models, structure), generator, FAST, progress)
    coords, resolution = upsample_shape(models, coarse, 64, progress=progress)
    fine = sample_shape(models, pictures, coords, generator, FAST, progress, resolution // models.factor)
    texture = sample_texture(models, pictures, fine, generator, FAST, progress)
    shape = decode_shape(models, fine, progress)
    return Made(structure, coarse, fine, texture, shape, decode_texture(models, texture, shape, progress))
