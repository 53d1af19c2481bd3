"""From latents to voxels: occupancy, shape and material. Source: specs/pixal3d.md sections 1.1 and 3.3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from ..diffusion.holder import Holder
from ..errors import Bundle3DError
from ..progress import Progress, silent
from ..volumes.dual_grid import DualGrid
from ..volumes.neighbours import NEIGHBOURS
from ..volumes.requantise import MOST_TOKENS, VOXELS_PER_TOKEN, cascade_coords, occupied_coords
from ..volumes.sparse_voxels import SparseVoxels
from .config import StructureDecoderConfig, VoxelDecoderConfig
from .models import Pixal3DModels
from .voxel_decoder import SPLIT_BYTES, Decoded

MARGIN = 0.5  # how far beyond its voxel a vertex may lie, in voxels
# Where in a voxel's material which part is.
BASE_COLOR, METALLIC, ROUGHNESS, ALPHA = slice(0, 3), 3, 4, 5


@dataclass(frozen=True)
class DecodedShape:
    """The dual grid of each object, and which children the voxels of every level of the decoder have."""

    grids: tuple[DualGrid, ...]
    children: tuple[torch.Tensor, ...]


@torch.no_grad()
def decode_structure(models: Pixal3DModels, latents: torch.Tensor) -> torch.Tensor:
    """The voxels (N, 4) int32 of the coarse shape's lattice that hold something, of latents (B, C, R, R, R).

    Raises Bundle3DError where an object is empty.
    """
    logits = structure_logits(models.structure_decoder, latents)
    return occupied_coords(logits, models.shape.flow.module.config.resolution)


@torch.no_grad()
def structure_logits(holder: Holder, latents: torch.Tensor) -> torch.Tensor:
    """(B, 1, S, S, S) float32 on the CPU, positive where latents (B, C, R, R, R) say that something is.

    ``holder``: of a StructureDecoder.
    """
    logits = []
    for one in latents:
        with holder.use(structure_bytes(holder.module.config, latents.shape[-1], holder.compute_dtype)) as decoder:
            logits.append(decoder(one[None].to(holder.compute_device, holder.compute_dtype)).float().cpu())
    return torch.cat(logits)


@torch.no_grad()
def upsample_shape(
    models: Pixal3DModels,
    latents: SparseVoxels,
    resolution: int,
    most_tokens: int = MOST_TOKENS,
    progress: Progress = silent,
) -> tuple[torch.Tensor, int]:
    """The voxels (M, 4) int32 for the fine latents of a shape with coarse ``latents``, and the resolution they allow.

    ``resolution`` is that of the shape in the end; where its latents were ``most_tokens`` or more, it is lowered as
    published. Raises Bundle3DError for a resolution that the coarse one exceeds or that is none of the lattice.
    """
    factor = models.factor
    if resolution % factor or resolution < factor * latents.resolution:
        raise Bundle3DError(
            f"Expected a multiple of {factor} from {factor * latents.resolution} up as the resolution, but got "
            f"{resolution}; choose {models.resolution}."
        )
    holder = models.shape_decoder
    with holder.use(decoder_bytes(holder.module.config, len(latents.coords), holder.compute_dtype)) as decoder:
        finest = decoder.upsample(_placed(latents, holder), holder.compute_dtype, progress)
    # The published lattice has a sixteenth of the resolution; others are counted as if theirs had.
    published = resolution // factor * VOXELS_PER_TOKEN
    coords, allowed = cascade_coords(finest, factor * latents.resolution, published, most_tokens)
    return coords.cpu(), allowed // VOXELS_PER_TOKEN * factor


@torch.no_grad()
def decode_shape(models: Pixal3DModels, latents: SparseVoxels, progress: Progress = silent) -> DecodedShape:
    """The shapes of ``latents`` (N, C) of a batch of objects, with the decoder's own resolution of them.

    Raises Bundle3DError where there is no surface.
    """
    decoded = _decode(models.shape_decoder, latents, None, progress)
    voxels = decoded.voxels
    grids = []
    start = 0
    for count in voxels.lengths():
        rows = slice(start, start + count)
        grids.append(dual_grid(voxels.coords[rows, 1:], voxels.features[rows], voxels.resolution))
        start += count
    return DecodedShape(tuple(grids), decoded.children)


@torch.no_grad()
def decode_texture(
    models: Pixal3DModels, latents: SparseVoxels, shape: DecodedShape, progress: Progress = silent
) -> SparseVoxels:
    """The material of every voxel of ``shape``: base colour, metallic, roughness and alpha (V, 6), about in [0, 1].

    Raises Bundle3DError where there is no texture decoder or the latents are not at the shape's voxels.
    """
    if models.texture_decoder is None:
        raise Bundle3DError("Expected a decoder for textures, but these models have none; make the shape alone.")
    voxels = _decode(models.texture_decoder, latents, shape.children, progress).voxels
    return voxels.with_features(voxels.features * 0.5 + 0.5)


def dual_grid(coords: torch.Tensor, heads: torch.Tensor, resolution: int) -> DualGrid:
    """The dual grid of one object from what the shape decoder says (V, 7) of the voxels ``coords`` (V, 3)."""
    return DualGrid(
        coords=coords,
        offsets=(1 + 2 * MARGIN) * heads[:, :3].sigmoid() - MARGIN,
        edges=heads[:, 3:6] > 0,
        split_weights=functional.softplus(heads[:, 6]),
        resolution=resolution,
    )


def structure_bytes(config: StructureDecoderConfig, resolution: int, dtype: torch.dtype) -> int:
    """About what decoding a structure needs beside the weights."""
    numbers = (channels * (resolution * 2**level) ** 3 for level, channels in enumerate(config.channels))
    return 12 * max(numbers) * dtype.itemsize


def decoder_bytes(config: VoxelDecoderConfig, voxels: int, dtype: torch.dtype) -> int:
    """About what decoding ``voxels`` latents of a surface, which splits into four, needs beside the weights."""
    most = 0
    for level, channels in enumerate(config.channels):
        count = voxels * 4**level
        split = 8 * config.channels[level + 1] if level + 1 < len(config.channels) else 0
        eight = min(count * split * dtype.itemsize, SPLIT_BYTES)
        most = max(most, count * (4 * channels * dtype.itemsize + NEIGHBOURS * 4) + eight)
    return most


def _decode(
    holder: Holder, latents: SparseVoxels, children: tuple[torch.Tensor, ...] | None, progress: Progress
) -> Decoded:
    with holder.use(decoder_bytes(holder.module.config, len(latents.coords), holder.compute_dtype)) as decoder:
        decoded: Decoded = decoder(_placed(latents, holder), children, holder.compute_dtype, progress)
    return decoded


def _placed(latents: SparseVoxels, holder: Holder) -> SparseVoxels:
    device = holder.compute_device
    return SparseVoxels(latents.coords.to(device), latents.features.to(device, torch.float32), latents.resolution)
