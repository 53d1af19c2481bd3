"""Latents and structures as ComfyUI's own nodes for Pixal3D, of version 0.34 and newer, hand them on.

A LATENT is a dict with what the flow drew, still normalised: ``samples`` (B, C, N, 1), the voxels of each object, with
zeros behind those of smaller ones; ``coords`` (M, 4) int32 (object, x, y, z), all voxels, object after object;
``coord_counts`` (B,) int64, how many each object has; ``coord_resolution``, the side of their lattice; ``model_frame``,
"y_up" for Pixal3D and "z_up" for TRELLIS.2; ``type``, "trellis2". A structure is a dense VOXEL (B, R, R, R), 1 inside,
along x, y and z. Source: specs/pixal3d.md section 8.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from ..errors import Bundle3DError
from ..volumes.requantise import occupied_coords
from ..volumes.sparse_voxels import SparseVoxels, batch_lengths
from .normalisation import Normalisation

TYPE, FRAME = "trellis2", "y_up"
PARTS = ("samples", "coords", "coord_counts", "coord_resolution")


def core_latent(objects: Sequence[SparseVoxels], normalisation: Normalisation) -> dict[str, Any]:
    """The LATENT of denormalised latents (N, C) of one object each.

    Of what a flow drew, `sparse_latents` gives back the very same numbers. Raises Bundle3DError where the objects have
    lattices of different sizes, as a LATENT says one for all of them.
    """
    sides = sorted({one.resolution for one in objects})
    if len(sides) != 1:
        raise Bundle3DError(
            f"Expected objects of one resolution for a LATENT, but got lattices with sides of {sides}; choose a lower "
            "resolution for all, or convert them one by one."
        )
    counts = [len(one.coords) for one in objects]
    samples = torch.zeros(len(objects), len(normalisation.mean), max(counts), 1)
    for row, one in zip(samples, objects):
        row[:, : len(one.coords), 0] = _drawn(normalisation, one.features.float().cpu()).T
    voxels = [functional.pad(one.coords[:, 1:].cpu(), (1, 0), value=index) for index, one in enumerate(objects)]
    return {
        "samples": samples,
        "coords": torch.cat(voxels),
        "coord_counts": torch.tensor(counts),
        "coord_resolution": sides[0],
        "model_frame": FRAME,
        "type": TYPE,
    }


def sparse_latents(latent: Mapping[str, Any], normalisation: Normalisation) -> list[SparseVoxels]:
    """The denormalised latents (N, C) float32 of each object of a LATENT, on the CPU.

    Raises Bundle3DError for other latents: images', TRELLIS.2's, those of another family or whose parts do not fit.
    """
    if missing := [part for part in PARTS if part not in latent]:
        raise Bundle3DError(
            f"Expected latents of voxels, but this LATENT has no {missing[0]}; connect one that started at Trellis2 "
            "Shape, Upsample or Texture Stage, or at Pixal3D to Latent."
        )
    if latent.get("model_frame", FRAME) != FRAME:
        raise Bundle3DError(
            f"Expected latents of Pixal3D, but these are {latent['model_frame']}, as those of TRELLIS.2 are; give the "
            "stages a conditioning of Pixal3D."
        )
    samples, coords, side = latent["samples"], latent["coords"].cpu().int(), int(latent["coord_resolution"])
    counts: list[int] = latent["coord_counts"].tolist()
    channels = len(normalisation.mean)
    fits = samples.ndim == 4 and (*samples.shape[:2], samples.shape[3]) == (len(counts), channels, 1)
    if not fits or not counts or not 0 < min(counts) <= max(counts) <= samples.shape[2]:
        raise Bundle3DError(
            f"Expected samples (B, {channels}, N, 1) for objects with {counts} voxels, but got "
            f"{tuple(samples.shape)}; connect latents of the same models, as they are."
        )
    if coords.shape != (sum(counts), 4) or batch_lengths(coords.clamp(min=0)) != counts:
        raise Bundle3DError(
            f"Expected the voxels of objects with {counts}, but got coords {tuple(coords.shape)} that are not as many "
            "of each; connect latents as they are."
        )
    objects = []
    for index, (count, row) in enumerate(zip(counts, samples)):
        voxels = functional.pad(coords[coords[:, 0] == index][:, 1:], (1, 0))
        features = normalisation.latents(row[:, :count, 0].T.float().cpu())
        objects.append(SparseVoxels(voxels, features, side))
    return objects


def core_structure(objects: Sequence[torch.Tensor], resolution: int) -> torch.Tensor:
    """The data (B, R, R, R) of a VOXEL: 1 in the voxels (N, 4) of each object, 0 elsewhere."""
    data = torch.zeros(len(objects), *[resolution] * 3)
    for cube, coords in zip(data, objects):
        cube[coords[:, 1:].long().unbind(1)] = 1.0
    return data


def structure_voxels(data: torch.Tensor, resolution: int) -> list[torch.Tensor]:
    """The voxels (N, 4) int32 of a lattice of ``resolution``^3 that hold something, of each object in a VOXEL's data.

    Finer data are reduced. Raises Bundle3DError for data of another shape and for empty objects.
    """
    if data.ndim != 4 or not len(data) or len({*data.shape[1:]}) > 1 or data.shape[1] % resolution:
        raise Bundle3DError(
            f"Expected a structure of {resolution}^3 voxels, or a multiple, but got {tuple(data.shape)}; connect that "
            "of VaeDecodeStructureTrellis2, with the resolution that these models need."
        )
    coords = occupied_coords(data[:, None].float().cpu(), resolution)
    return [functional.pad(part[:, 1:], (1, 0)) for part in coords.split(batch_lengths(coords))]


def _drawn(normalisation: Normalisation, latents: torch.Tensor) -> torch.Tensor:
    """What was denormalised to ``latents`` (N, C): where rounding misses it by the last bit, its neighbour."""
    found = normalisation.drawn(latents)
    near = [torch.nextafter(found, found.new_tensor(way)) for way in (-math.inf, math.inf)]
    for neighbour in near:
        better = (normalisation.latents(found) != latents) & (normalisation.latents(neighbour) == latents)
        found = torch.where(better, neighbour, found)
    return found
