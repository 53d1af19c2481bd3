"""The dimensions of Pixal3D's networks, and how they are read off a checkpoint.

Nearly all of them are told by the shapes of the tensors; what is not, a network's own JSON file says.
Source: specs/pixal3d.md sections 3.1 to 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from ..volumes.subdivide import CHILDREN

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FlowConfig:
    """A flow transformer; the defaults are those of the published structure flow.

    ``resolution`` is the side of the lattice that the model was made for, ``hidden`` the inner width of its MLPs,
    ``projected_width`` the channels of the picture's features at a voxel.
    """

    resolution: int = 16
    in_channels: int = 8
    out_channels: int = 8
    width: int = 1536
    hidden: int = 8192
    blocks: int = 30
    heads: int = 12
    condition_width: int = 1024
    projected_width: int = 1024

    def __post_init__(self) -> None:
        _check_positive(*(getattr(self, field.name) for field in fields(self)))
        if self.width % self.heads or self.width // self.heads % 2 or self.width // self.heads < 6:
            raise ValueError(f"a width of {self.width} does not divide into {self.heads} heads of at least 6 channels")


@dataclass(frozen=True)
class StructureDecoderConfig:
    """The dense decoder of occupancy; the defaults are the published ones. Every channel count after the first is one
    more doubling of the lattice.
    """

    latent_channels: int = 8
    out_channels: int = 1
    channels: tuple[int, ...] = (512, 128, 32)
    blocks: int = 2
    middle_blocks: int = 2

    def __post_init__(self) -> None:
        _check_positive(self.latent_channels, self.out_channels, *self.channels)


@dataclass(frozen=True)
class VoxelDecoderConfig:
    """A sparse decoder of shape or material; the defaults are those of the published shape decoder.

    Level by level ``channels`` and the number of ``blocks``; between levels voxels split. ``subdivides``: it decides
    itself which children of a voxel exist; otherwise it is told.
    """

    latent_channels: int = 32
    out_channels: int = 7
    channels: tuple[int, ...] = (1024, 512, 256, 128, 64)
    blocks: tuple[int, ...] = (4, 16, 8, 4, 0)
    subdivides: bool = True

    def __post_init__(self) -> None:
        _check_positive(self.latent_channels, self.out_channels, *self.channels)
        if len(self.channels) != len(self.blocks) or min(self.blocks) < 0:
            raise ValueError(f"{len(self.blocks)} numbers of blocks for {len(self.channels)} levels")
        for before, after in zip(self.channels, self.channels[1:]):
            if before % CHILDREN or after % (before // CHILDREN):
                raise ValueError(f"{before} channels do not split into {CHILDREN} children of {after}")

    @property
    def factor(self) -> int:
        """How many times finer the lattice of the result is than that of the latents."""
        return int(2 ** (len(self.channels) - 1))


def flow_config(shapes: Shapes, resolution: int) -> FlowConfig:
    """The dimensions of the flow transformer whose tensors have these shapes, made for ``resolution``.

    Raises LookupError or ValueError where they are of no such model.
    """
    width, in_channels = shapes["input_layer.weight"]
    heads, _ = shapes["blocks.0.self_attn.q_rms_norm.gamma"]
    cross = "blocks.0.cross_attn"
    return FlowConfig(
        resolution=resolution,
        in_channels=in_channels,
        out_channels=shapes["out_layer.weight"][0],
        width=width,
        hidden=shapes["blocks.0.mlp.mlp.0.weight"][0],
        blocks=layer_count(shapes, "blocks."),
        heads=heads,
        condition_width=shapes[f"{cross}.cross_attn_block.to_kv.weight"][1],
        projected_width=shapes[f"{cross}.proj_linear.weight"][1],
    )


def structure_decoder_config(shapes: Shapes) -> StructureDecoderConfig:
    """The dimensions of the structure decoder whose tensors have these shapes; raises as `flow_config` does."""
    first, latent_channels = shapes["input_layer.weight"][:2]
    doublings = sorted(int(name.split(".")[1]) for name in shapes if re.fullmatch(r"blocks\.\d+\.conv\.weight", name))
    total = layer_count(shapes, "blocks.")
    after = tuple(shapes[f"blocks.{place}.conv.weight"][0] // CHILDREN for place in doublings)
    return StructureDecoderConfig(
        latent_channels=latent_channels,
        out_channels=shapes["out_layer.2.weight"][0],
        channels=(first, *after),
        blocks=doublings[0] if doublings else total,
        middle_blocks=layer_count(shapes, "middle_block."),
    )


def voxel_decoder_config(shapes: Shapes) -> VoxelDecoderConfig:
    """The dimensions of the shape or texture decoder whose tensors have these shapes; raises as `flow_config` does."""
    first, latent_channels = shapes["from_latent.weight"]
    out_channels, last = shapes["output_layer.weight"]
    ups = {
        int(found[1]): shapes[name][0]
        for name in shapes
        if (found := re.fullmatch(r"blocks\.(\d+)\.\d+\.conv2\.weight", name))
    }
    channels = (first, *(ups[level] for level in range(len(ups))))
    if channels[-1] != last:
        raise ValueError(f"{channels[-1]} channels come out of the last level, but {last} are read")
    return VoxelDecoderConfig(
        latent_channels=latent_channels,
        out_channels=out_channels,
        channels=channels,
        blocks=tuple(
            sum(bool(re.fullmatch(rf"blocks\.{level}\.\d+\.conv\.weight", name)) for name in shapes)
            for level in range(len(channels))
        ),
        subdivides=any(".to_subdiv." in name for name in shapes),
    )


def layer_count(shapes: Shapes, prefix: str) -> int:
    """How many numbered layers have tensors whose names begin with ``prefix`` and a number."""
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})


def _check_positive(*dimensions: int) -> None:
    if min(dimensions) < 1:
        raise ValueError(f"a dimension is {min(dimensions)}, which is not positive")
