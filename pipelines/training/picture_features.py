"""Training what sees pictures: features from which one tells, along a pixel's ray, where an object is and its colour.

Pixal3D's published features come from pictures of the world; a small family has none. They are learned as those of
pixel-aligned implicit functions (Saito et al. 2019), whose last layers are then dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from ..pixal3d.image_encoder import IMAGE_MEAN, IMAGE_STD, ImageEncoderConfig, image_encoder
from ..progress import Progress, silent
from ..views.camera import Camera
from ..volumes.back_projection import sample_features
from ..volumes.projection import front_camera, sampling_coordinates
from .field_samples import sample_field, write_samples
from .loop import LoopOptions, train_to_average
from .placed_objects import PlacedObject, PlacedPictures
from .plain_attention import PlainAttention

POINTS_KEPT, POINTS_USED = 2048, 384
BATCH = 8
OPTIONS = LoopOptions(steps=2500, learning_rate=1e-3, warmup=100, average=0.99, save_every=25, log_every=25)
REACH = 0.1  # further away from the surface distances are not told apart; the grid is 1 wide
COLORED = 0.03  # so near to the surface colours are learned
COLOR_WEIGHT = 0.3
WIDTH = 128
OCTAVES = 4  # of the waves in which the reader is told where a point is
BRIGHTNESS, NOISE = 0.04, 0.02  # how much pictures differ from the renders: drawn ones do


class PictureReader(nn.Module):
    """``encoder`` and ``upsampler``, and layers that read distance and colour of points from their features."""

    def __init__(self, encoder: ImageEncoderConfig, upsampler: UpsamplerConfig) -> None:
        super().__init__()
        self.encoder = image_encoder(encoder)
        self.encoder.requires_grad_(True)
        self.encoder.embeddings.mask_token.requires_grad_(False)
        self.upsampler = FeatureUpsampler(upsampler)
        self.special = 1 + encoder.registers
        self.whole = nn.Linear(self.special * encoder.width, WIDTH)
        self.near = nn.Linear(2 * encoder.width + 3 * (1 + 2 * OCTAVES), WIDTH)
        self.layers = nn.Sequential(
            nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 4)
        )

    def train(self, mode: bool = True) -> PictureReader:
        """As ever, but the encoder stays as in use: while it trains, transformers moves the patches at random."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, pictures: torch.Tensor, points: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(B, P, 4): distance and linear colour at ``points`` (B, P, 3), in the axes of each picture's camera.

        ``pictures`` (B, 3, S, S) in [0, 1]; ``places`` (B, P, 2) are where the points appear, from -1 to 1.
        """
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
        seen = self.encoder((pictures - mean) / std).last_hidden_state
        side = math.isqrt(seen.shape[1] - self.special)
        whole, patches = seen.tensor_split([self.special], dim=1)
        maps = patches.transpose(1, 2).unflatten(-1, (side, side)).float()
        near = []
        for picture, coarse, where in zip(pictures, maps, places):
            fine = self.upsampler(picture, coarse, picture.shape[-1])
            near.append(torch.cat((sample_features(coarse, where), fine(where).to(coarse)), dim=-1))
        told = torch.cat((torch.stack(near), _waves(points)), dim=-1)
        hidden = self.near(told) + self.whole(whole.flatten(1))[:, None]
        out: torch.Tensor = self.layers(hidden)
        return out


def write_points(path: Path, placed: Callable[[], PlacedObject], generator: np.random.Generator) -> None:
    """Writes (P, 7) float16 unless it is there: points in the object's own frame, their distances, their colours."""
    write_samples(path, lambda: sample_field(placed().mesh, POINTS_KEPT, generator))


def train_pictures(
    model: PictureReader,
    pictures: Sequence[PlacedPictures],
    points: Sequence[Path],
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to tell distance and colour of ``points`` (files) of the objects in ``pictures``."""

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(pictures), (BATCH,), generator=generator).tolist()
        images, rows, places = zip(*(_example(pictures[index], points[index], generator) for index in picked))
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            told = model(as_if_drawn(torch.stack(images), generator), torch.stack(rows)[..., :3], torch.stack(places))
        return reading_loss(told.float(), torch.stack(rows))

    train_to_average(model, loss, folder, options, seed, progress, is_hidden=is_hidden)


def reading_loss(told: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """How far ``told`` (B, P, 4) are from the distances and colours in ``rows`` (B, P, 7)."""
    distance, color = rows[..., 3], rows[..., 4:]
    wrong = (told[..., 0] - distance.clamp(-REACH, REACH) / REACH).abs().mean()
    near = (distance.abs() < COLORED).float()[..., None]
    return wrong + COLOR_WEIGHT * ((told[..., 1:] - color).abs() * near).sum() / near.sum().clamp(min=1.0) / 3.0


def is_hidden(name: str) -> bool:
    """Whether the weight of that name is a matrix that a picture's patches pass through."""
    return ".layer." in name and name.endswith(".weight")


def as_if_drawn(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """``pictures`` (B, 3, S, S) on black with small errors: another brightness each, and noise; black stays black."""
    brightness = 1.0 + BRIGHTNESS * torch.randn(len(pictures), 1, 1, 1, generator=generator)
    amount = NOISE * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    noise = torch.randn(pictures.shape, generator=generator) * amount
    drawn = pictures * brightness + noise
    return torch.where(pictures.amax(1, keepdim=True) > 0.0, drawn, pictures).clamp(0.0, 1.0)


def seen_points(camera: Camera, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``rows`` (P, 7) with points and distances in the frame of a grid before ``camera``, and their places (P, 2)."""
    assert camera.fov is not None
    local = 0.5 * rows[:, :3] @ camera.rotation().float().T
    places = front_camera(math.radians(camera.fov), camera.distance / 2.0).project(local)
    return torch.cat((local, 0.5 * rows[:, 3:4], rows[:, 4:]), dim=1), places


def _example(
    pictured: PlacedPictures, path: Path, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    views = pictured.views().permute(0, 3, 1, 2)
    view = int(torch.randint(len(views), (1,), generator=generator))
    kept = torch.from_numpy(np.load(path))
    rows = kept[torch.randint(len(kept), (POINTS_USED,), generator=generator)].float()
    rows, places = seen_points(pictured.rig()[view], rows)
    return views[view], rows, sampling_coordinates(places, views.shape[-1])


def _waves(points: torch.Tensor) -> torch.Tensor:
    """(..., 27): points (..., 3) with sines and cosines of them."""
    turns = torch.cat([points * (math.pi * 2**octave) for octave in range(1, 1 + OCTAVES)], dim=-1)
    return torch.cat((points, turns.sin(), turns.cos()), dim=-1)
