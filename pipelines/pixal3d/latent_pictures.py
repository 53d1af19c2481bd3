"""Pictures of an object's latents while they are drawn: its voxels, seen from the front."""

from __future__ import annotations

import torch

from .enlarged import enlarged

GRAY = 0.8
SHADE, LIGHT = 0.35, 1.0  # of the farthest and of the nearest voxel
SPREAD = 0.25  # of colours around the middle, for a feature of deviation 1


def structure_picture(logits: torch.Tensor) -> torch.Tensor:
    """(S', S', 3) in [0, 1]: what is there where ``logits`` (S, S, S) are positive, lighter where it is nearer."""
    coords = torch.nonzero(logits > 0)
    return front_picture(coords, torch.full((len(coords), 3), GRAY), logits.shape[0])


def latent_picture(coords: torch.Tensor, drawn: torch.Tensor, resolution: int) -> torch.Tensor:
    """(S', S', 3) in [0, 1]: voxels ``coords`` (N, 3) of ``resolution``^3 in colours that tell their latents apart.

    Latents (N, C) are normalised. Colours are the same sums of channels in every picture, so that nothing flickers.
    """
    generator = torch.Generator().manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(drawn.shape[1], 3, generator=generator))
    return front_picture(coords.cpu(), 0.5 + SPREAD * (drawn.float().cpu() @ axes), resolution)


def front_picture(coords: torch.Tensor, colors: torch.Tensor, resolution: int) -> torch.Tensor:
    """(S', S', 3) in [0, 1], on black: ``colors`` (N, 3) of the voxels ``coords`` (N, 3), unique, that the front camera
    sees without perspective: x to the right, y up, z toward it."""
    x, y, z = coords.long().unbind(1)
    place = (resolution - 1 - y) * resolution + x
    nearest = torch.full((resolution**2,), -1).scatter_reduce(0, place, z, "amax")
    seen = z == nearest[place]
    light = SHADE + (LIGHT - SHADE) * z[seen] / max(resolution - 1, 1)
    picture = torch.zeros(resolution**2, 3)
    picture[place[seen]] = (colors[seen] * light[:, None]).clamp(0.0, 1.0)
    return enlarged(picture.unflatten(0, (resolution, resolution)))
