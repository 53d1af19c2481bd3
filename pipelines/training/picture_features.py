"""Training what sees pictures: features from which one tells, pixel by pixel, what is around a place in a picture.

That is whether there is an object, its colour, which way it faces, and where along the pixel's ray it begins and ends.
Places are any, not the middles of patches, for voxels appear anywhere: what is between patches has to tell as well as
they do. Pixal3D's published features come from pictures of the world; a small family has none. The layers that tell are
dropped afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..meshes.mesh import Mesh
from ..pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from ..pixal3d.image_encoder import IMAGE_MEAN, IMAGE_STD, ImageEncoderConfig, image_encoder
from ..progress import Progress, silent
from ..rendering.interpolate import interpolate
from ..rendering.rasterise import rasterise
from ..views.camera import Camera
from ..volumes.back_projection import sample_features
from .loop import LoopOptions, train_to_average
from .placed_objects import PlacedObject, PlacedPictures
from .plain_attention import PlainAttention
from .whole_file import whole_file

BATCH = 8
UPSAMPLED = 2  # pictures of a batch whose features are upsampled, which takes longer than to encode them
PIXELS = 512  # of them that are read there
PLACES = 192  # of each picture that are told of
WINDOW = 8  # pixels along a window, every one of them and every other one: of a voxel of a shape and of a structure
STRIDES = (1, 2)
OPTIONS = LoopOptions(steps=5000, learning_rate=1.5e-3, warmup=100, average=0.995, save_every=100, log_every=50)
WIDTH = 256
TOLD = ("covered", "red", "green", "blue", "right", "up", "toward", "begin", "end")
COVERED, COLOR, NORMAL, EXTENT = 0, slice(1, 4), slice(4, 7), slice(7, 9)
WEIGHTS = (0.3, 0.5, 0.3, 1.0)  # of what is covered, its colour, normal and extent
BRIGHTNESS, NOISE = 0.04, 0.02  # how much pictures differ from the renders: drawn ones do


class PictureReader(nn.Module):
    """``encoder`` and ``upsampler``, and layers that read what pixels show from their features."""

    def __init__(self, encoder: ImageEncoderConfig, upsampler: UpsamplerConfig) -> None:
        super().__init__()
        self.encoder = image_encoder(encoder)
        self.encoder.requires_grad_(True)
        self.encoder.embeddings.mask_token.requires_grad_(False)
        self.upsampler = FeatureUpsampler(upsampler)
        self.special = 1 + encoder.registers
        self.whole = nn.Linear(self.special * encoder.width, WIDTH)
        self.of_place = nn.Linear(encoder.width, WIDTH)
        self.of_pixel = nn.Linear(encoder.width, WIDTH)
        self.place_layers = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, len(TOLD) * len(STRIDES) * WINDOW**2))
        self.pixel_layers = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, len(TOLD)))

    def train(self, mode: bool = True) -> PictureReader:
        """As ever, but the encoder stays as in use: while it trains, transformers moves the patches at random."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(
        self, pictures: torch.Tensor, places: torch.Tensor, pixels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``pictures`` (B, 3, S, S) in [0, 1] show: (B, 9, P, W) in the windows around ``places`` (B, P, 2), x and
        y from -1 to 1, and (b, 9, Q) as upsampled features tell at ``pixels`` (b, Q), counted row by row, of the first
        b of them.
        """
        mean, std = (pictures.new_tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
        seen = self.encoder((pictures - mean) / std).last_hidden_state
        whole, patches = seen.tensor_split([self.special], dim=1)
        whole = self.whole(whole.flatten(1))[:, None]
        side = math.isqrt(patches.shape[1])
        maps = patches.transpose(1, 2).unflatten(-1, (side, side)).float()
        at = torch.stack([sample_features(own, wanted) for own, wanted in zip(maps, places)])
        told = self.place_layers(self.of_place(at) + whole).unflatten(-1, (len(TOLD), -1)).transpose(1, 2)
        fine = []
        for picture, own, wanted in zip(pictures, maps, pixels):
            fine.append(self.upsampler(picture, own, picture.shape[-1])(_centres(wanted, picture.shape[-1])))
        return told, self.pixel_layers(self.of_pixel(torch.stack(fine)) + whole[: len(fine)]).transpose(1, 2)


def write_surfaces(path: Path, placed: Callable[[], PlacedObject], size: int) -> None:
    """Writes (V, 6, S, S) int8 unless it is there: whether a pixel shows the object, the normal of what it shows in the
    axes of the camera, and where along its ray the object begins and ends.

    The last two are depths toward the viewer from the middle of the grid, twice as large; all but the first are counted
    in 127ths.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    object_ = placed()
    views = torch.stack([surface(object_.mesh, camera, size) for camera in object_.rig])
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, views.numpy())


def surface(mesh: Mesh, camera: Camera, size: int) -> torch.Tensor:
    """(6, S, S) int8: one view of `write_surfaces`."""
    clip = functional.pad(mesh.vertices.double(), (0, 1), value=1.0) @ camera.world_to_clip().T
    local = (mesh.vertices.double() @ camera.rotation().T).float()[None]
    front = clip.float()[None]
    back = front * front.new_tensor((1.0, 1.0, -1.0, 1.0))
    begins, ends = (rasterise(each, mesh.faces, size, size) for each in (front, back))
    begin, end = (
        interpolate(local, each, mesh.faces, seen)[0][..., 2] for each, seen in ((front, begins), (back, ends))
    )
    corners = local[0][mesh.faces.long()]
    normals = functional.normalize(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    face = begins.face[0].long()
    normal = normals[face.clamp(min=0)]
    covered = (face >= 0).float()
    rows = torch.cat((normal, begin[..., None], end[..., None]), dim=-1) * covered[..., None]
    counted = (127.0 * rows).round().clamp(-127, 127)
    return torch.cat((covered[..., None], counted), dim=-1).permute(2, 0, 1).to(torch.int8)


def train_pictures(
    model: PictureReader,
    pictures: Sequence[PlacedPictures],
    surfaces: Sequence[Path],
    folder: Path,
    options: LoopOptions = OPTIONS,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Trains ``model`` in place to tell what is in the files ``surfaces`` of the objects in ``pictures``."""

    def loss(step: int, generator: torch.Generator) -> torch.Tensor:
        picked = torch.randint(len(pictures), (BATCH,), generator=generator).tolist()
        examples = [_example(pictures[index], surfaces[index], generator) for index in picked]
        images, true = (torch.stack(each) for each in zip(*examples))
        places = 2.0 * torch.rand(len(images), PLACES, 2, generator=generator) - 1.0
        pixels = torch.randint(images[0, 0].numel(), (UPSAMPLED, PIXELS), generator=generator)
        with torch.autocast("cpu", torch.bfloat16), PlainAttention():
            told, fine = model(as_if_drawn(images, generator), places, pixels)
        wanted = true[:UPSAMPLED].flatten(2).gather(2, pixels[:, None].expand(-1, len(TOLD), -1))
        return reading_loss(told.float(), in_windows(true, places)) + reading_loss(fine.float(), wanted)

    train_to_average(model, loss, folder, options, seed, progress, is_hidden=is_hidden)


def in_windows(true: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """(B, C, P, W) of ``true`` (B, C, S, S) in the windows around ``places`` (B, P, 2); zero beyond the picture."""
    steps = 2.0 / true.shape[-1] * (torch.arange(WINDOW) - (WINDOW - 1) / 2.0)
    down, across = torch.meshgrid(steps, steps, indexing="ij")
    offsets = torch.cat([stride * torch.stack((across, down), dim=-1).flatten(0, 1) for stride in STRIDES])
    wanted = places[:, :, None] + offsets
    return functional.grid_sample(true, wanted, mode="nearest", align_corners=False)


def reading_loss(told: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """How far ``told`` (B, 9, ...) is from ``true``; where there is no object nothing else counts."""
    covered = true[:, COVERED]
    wrong = functional.binary_cross_entropy_with_logits(told[:, COVERED], covered)
    total = WEIGHTS[0] * wrong
    for part, weight in zip((COLOR, NORMAL, EXTENT), WEIGHTS[1:]):
        off = (told[:, part] - true[:, part]).abs().mean(1)
        total = total + weight * (off * covered).sum() / covered.sum().clamp(min=1.0)
    return total


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


def _example(pictured: PlacedPictures, path: Path, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """One of the views (3, S, S) and what it shows (9, S, S)."""
    views = pictured.views()
    view = int(torch.randint(len(views), (1,), generator=generator))
    image = views[view].permute(2, 0, 1)
    counted = torch.from_numpy(np.load(path, mmap_mode="r")[view].copy()).float()
    return image, torch.cat((counted[:1], image, counted[1:] / 127.0))


def _centres(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """(P, 2): where pixels (P,), counted row by row, are across a picture, x and y from -1 to 1."""
    places = torch.stack((pixels % size, pixels // size), dim=-1)
    return (2.0 * places + 1.0) / size - 1.0
