"""Training Pixal3D's structure decoder, with an encoder that only training needs: which voxels hold some surface.

Source: specs/pixal3d.md sections 1.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..meshes.mesh import Mesh
from ..pixal3d.config import StructureDecoderConfig
from ..pixal3d.structure_decoder import StructureDecoder
from ..progress import Progress, silent
from .loop import LoopOptions, train_to_average
from .placed_voxels import material_grid
from .whole_file import whole_file

RESOLUTION = 32
VOXELIZED_AT = 128  # thin walls meet in voxels of 32; those of the shape decide which of them hold something
BATCH = 6
OPTIONS = LoopOptions(steps=1500, learning_rate=4e-3, warmup=50, average=0.99, save_every=50, log_every=25)
RARE = -2.5  # logit of the share of voxels that hold something, with which a new decoder begins
NOISE = 0.15  # deviation of what is added to latents of a deviation of one, so that nearby ones mean nearly the same
MEASURED = 64  # objects whose latents tell the deviation
WIDTH = 64


class StructureAutoencoder(nn.Module):
    """``decoder`` and an encoder for it, whose latents have a mean of zero and a deviation of one in each channel.

    Nothing else normalises those of structures. While it trains, they are so within a batch, afterwards within the
    objects of `measure`.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, config: StructureDecoderConfig) -> None:
        super().__init__()
        self.decoder = StructureDecoder(config)
        last = self.decoder.out_layer[-1]
        assert isinstance(last, nn.Conv3d) and last.bias is not None
        nn.init.constant_(last.bias, RARE)
        self.encoder = nn.Sequential(
            nn.Conv3d(self.decoder.factor**3, WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(WIDTH, WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv3d(WIDTH, config.latent_channels, 1),
        )
        self.register_buffer("mean", torch.zeros(config.latent_channels))
        self.register_buffer("deviation", torch.ones(config.latent_channels))

    def latents(self, occupancy: torch.Tensor) -> torch.Tensor:
        """(B, C, r, r, r) of ``occupancy`` (B, R, R, R) bool."""
        found = self._raw(occupancy)
        mean, deviation = _statistics(found) if self.training else (self.mean, self.deviation)
        return (found - mean[:, None, None, None]) / deviation[:, None, None, None]

    @torch.no_grad()
    def measure(self, occupancy: Sequence[torch.Tensor]) -> None:
        """Takes the mean and deviation of what it sees from now on from ``occupancy`` (R, R, R) each."""
        found = torch.cat([self._raw(one[None]) for one in occupancy])
        self.mean, self.deviation = _statistics(found)

    def _raw(self, occupancy: torch.Tensor) -> torch.Tensor:
        factor = self.decoder.factor
        cells = [part for side in occupancy.shape[1:] for part in (side // factor, factor)]
        blocks = occupancy.float().reshape(len(occupancy), *cells).permute(0, 2, 4, 6, 1, 3, 5).flatten(1, 3)
        found: torch.Tensor = self.encoder(blocks)
        return found


def write_occupancy(path: Path, mesh: Callable[[], Mesh]) -> None:
    """Writes which voxels of a lattice of ``RESOLUTION``^3 hold surface of the mesh, as bits, unless it is there."""
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    coords = material_grid(mesh(), VOXELIZED_AT).grid.coords // (VOXELIZED_AT // RESOLUTION)
    occupied = np.zeros((RESOLUTION,) * 3, dtype=bool)
    occupied[tuple(coords.T.numpy())] = True
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.packbits(occupied))


def read_occupancy(path: Path) -> torch.Tensor:
    """(R, R, R) bool, as `write_occupancy` wrote it."""
    bits = np.unpackbits(np.load(path)).astype(bool)
    return torch.from_numpy(bits.reshape((RESOLUTION,) * 3))


def train_structure_autoencoder(
    model: StructureAutoencoder,
    occupancy: Sequence[torch.Tensor],
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to give back ``occupancy`` (R, R, R) bool each, turned and mirrored at random."""

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(occupancy), (BATCH,), generator=generator).tolist()
        true = torch.stack([_turned(occupancy[index], generator) for index in picked])
        latents = model.latents(true)
        noisy = latents + NOISE * torch.randn(latents.shape, generator=generator)
        return occupancy_loss(model.decoder(noisy)[:, 0], true.float())

    train_to_average(model, loss, folder, options, seed, progress)
    model.measure(occupancy[:MEASURED])


def occupancy_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Cross entropy, and Dice's loss of every object, for few voxels hold something."""
    wrong = functional.binary_cross_entropy_with_logits(logits, true)
    chance = logits.sigmoid()
    both, all_ = (chance * true).flatten(1).sum(1), (chance + true).flatten(1).sum(1)
    return wrong + 0.2 * (1.0 - 2.0 * both / all_.clamp(min=1.0)).mean()


def overlap(logits: torch.Tensor, true: torch.Tensor) -> float:
    """Intersection over union of what is above zero and ``true`` bool, both of one shape."""
    found = logits > 0
    return float((found & true).sum() / (found | true).sum().clamp(min=1))


def _turned(occupancy: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the 48 ways to lay a cube."""
    axes = torch.randperm(3, generator=generator).tolist()
    mirrored = [axis for axis in range(3) if float(torch.rand(1, generator=generator)) < 0.5]
    return occupancy.permute(axes).flip(mirrored)


def _statistics(latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (C,) of each channel of latents (B, C, ...)."""
    return latents.mean(dim=(0, 2, 3, 4)), latents.std(dim=(0, 2, 3, 4))
