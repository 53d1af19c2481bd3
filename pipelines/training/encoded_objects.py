"""What an encoder of voxels makes of the dataset's objects, for flows to learn.

Source: specs/pixal3d.md sections 3.5 and 3.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..pixal3d.normalisation import Normalisation
from ..progress import Progress, silent
from .placed_objects import placed_object
from .placed_voxels import MaterialGrid, batched, material_grid, voxel_tree
from .voxel_autoencoder import VoxelAutoencoder, normalised


@dataclass(frozen=True)
class EncodedObjects:
    """Of objects one after the other, ``lengths`` (B,) voxels each: ``coords`` (N, 3) uint8 and ``latents`` (N, C)
    float32 as an encoder gives them.
    """

    lengths: torch.Tensor
    coords: torch.Tensor
    latents: torch.Tensor

    def objects(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Voxels and latents of each, with a mean of zero and a deviation of one in each channel of all."""
        lengths = self.lengths.tolist()
        return list(zip(self.coords.split(lengths), normalised(self.latents).split(lengths)))

    def normalisation(self) -> Normalisation:
        """What takes those latents back to what the encoder gave."""
        deviation, mean = torch.std_mean(self.latents, dim=0)
        return Normalisation(tuple(mean.tolist()), tuple(deviation.tolist()))


@torch.no_grad()
def encode_objects(
    model: VoxelAutoencoder,
    features: Callable[[MaterialGrid], torch.Tensor],
    objects: int,
    resolution: int,
    seed: int,
    progress: Progress = silent,
) -> EncodedObjects:
    """The latents of the first ``objects`` placed objects, whose dual grids have ``resolution``^3 voxels."""
    coords, latents = [], []
    for index in range(objects):
        sample = material_grid(placed_object(index, seed).grid_mesh(), resolution)
        tree = voxel_tree(batched([sample.grid]), resolution, len(model.merges))
        coords.append(tree.coords[:, 1:].to(torch.uint8))
        latents.append(model.latents(features(sample)[tree.rows], tree, resolution))
        progress(index + 1, objects)
    return EncodedObjects(torch.tensor([len(each) for each in coords]), torch.cat(coords), torch.cat(latents))
