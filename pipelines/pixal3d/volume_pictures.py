"""What is lifted from pictures into the volume, as pictures of its slices.

Source: specs/pixal3d.md sections 2.3 and 2.6.
"""

from __future__ import annotations

import torch

from ..progress import Progress, silent
from ..volumes.back_projection import back_project
from .conditioning import SeenPictures
from .enlarged import enlarged
from .models import Pixal3DModels, Sight
from .pictured_object import PicturedObject
from .sample import every_voxel

COMPONENTS = 3  # of features that colours show


def color_volume(item: PicturedObject, resolution: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours (R, R, R, 3), along x, y and z, that the pictures have where each voxel appears, averaged over the views,
    and in which share of the views the object is there (R, R, R)."""
    pictures = item.pictures
    maps = torch.cat((pictures.images, item.masks[..., None]), dim=-1).permute(0, 3, 1, 2).float().contiguous()
    side = pictures.images.shape[1]
    volume = back_project(list(maps), pictures.cameras, resolution, image_size=side, mesh_scale=pictures.mesh_scale)
    cube = volume.unflatten(0, (resolution,) * 3)
    return cube[..., :COMPONENTS], cube[..., COMPONENTS]


def feature_volume(
    models: Pixal3DModels, item: PicturedObject, sight: Sight, resolution: int, progress: Progress = silent
) -> torch.Tensor:
    """The features that a stage with ``sight`` is told at each voxel, as colours (R, R, R, 3) of their three principal
    components. ``progress`` counts views."""
    voxels = every_voxel(1, resolution)[:, 1:]
    told = SeenPictures(models.pictures, item.pictures).condition(sight, voxels, resolution, progress).projected
    features = told.float().cpu() - told.float().cpu().mean(0)
    _, vectors = torch.linalg.eigh(features.T @ features)
    values = features @ vectors[:, -COMPONENTS:].flip(1)
    low, high = values.quantile(0.01, dim=0), values.quantile(0.99, dim=0)
    return ((values - low) / (high - low).clamp(min=1e-12)).clamp(0.0, 1.0).unflatten(0, (resolution,) * 3)


def slices(volume: torch.Tensor) -> torch.Tensor:
    """Pictures (R, S, S, 3) of a volume (R, R, R, 3), from the layer nearest to the first camera to the farthest."""
    layers = volume.permute(2, 1, 0, 3).flip(0, 1)  # z from the camera, y from above, x to the right
    return enlarged(layers)
