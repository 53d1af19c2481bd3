"""The dimensions of the networks of Pixal3D-D, and how they are read off a checkpoint.

Most of them are told by the shapes of the tensors; what is not, a network's config.json says, whose names they have
there. Defaults are those of the published classes. Source: specs/pixal3d.md section 1.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..config import Shapes, layer_count

Settings = Mapping[str, Any]
GROUPS = 32  # of channels that compression norms
DOUBLINGS = 3  # of the lattice in a decoder
LEAST_HEAD = 6  # channels: what sines and cosines along three axes take
HEAD_CHANNELS = 64  # of a dense flow whose settings tell no number of heads


@dataclass(frozen=True)
class DenseFlowConfig:
    """The flow of structures, one token for each voxel of ``resolution``^3.

    ``condition_width`` channels of pictures are added to ``width`` ones of voxels, so that both are the same.
    ``norms`` and ``cross_norms``: queries and keys of self- and cross-attention have lengths of their own.
    """

    resolution: int = 16
    channels: int = 8
    width: int = 1024
    hidden: int = 4096
    blocks: int = 24
    heads: int = 16
    condition_width: int = 1024
    norms: bool = True
    cross_norms: bool = False

    def __post_init__(self) -> None:
        _check(self, self.width, self.condition_width, self.heads)


@dataclass(frozen=True)
class SparseFlowConfig:
    """A flow of signed distances in latents at some voxels of ``resolution``^3.

    Spatial sparse attention: ``key_heads`` are shared by ``heads``; keys of cubes of ``compression``^3 voxels are made
    one, with convolutions where ``convolves``; of cubes of ``selection``^3, the ``most_selected`` best are looked into;
    windows have ``window``^3 and are ``shifted`` in every other block, else in all of them. ``position_scale`` times
    a voxel's place is embedded. ``projects``: pictures pass a layer, and places are added to them.
    """

    resolution: int = 64
    channels: int = 16
    width: int = 1024
    hidden: int = 4096
    blocks: int = 24
    heads: int = 32
    condition_width: int = 1024
    key_heads: int = 2
    compression: int = 4
    selection: int = 8
    most_selected: int = 32
    window: int = 8
    shifted: bool = True
    position_scale: float = 1.0
    convolves: bool = True
    projects: bool = True
    cross_norms: bool = False

    def __post_init__(self) -> None:
        _check(self, self.width, self.condition_width, self.heads)
        if self.heads % self.key_heads:
            raise ValueError(f"{self.heads} heads of queries do not share {self.key_heads} of keys")
        if self.selection % self.compression:
            raise ValueError(f"cubes of {self.selection}^3 voxels do not consist of cubes of {self.compression}^3")
        if self.convolves and self.key_width % GROUPS:
            raise ValueError(f"{self.key_width} channels of keys do not divide into {GROUPS} groups")

    @property
    def key_width(self) -> int:
        """Channels of all heads of keys."""
        return self.width // self.heads * self.key_heads

    def shift(self, block: int) -> int:
        """How many voxels before the lattice the windows of a block begin."""
        return self.window // 2 if block % 2 or not self.shifted else 0


@dataclass(frozen=True)
class SdfDecoderConfig:
    """From latents at voxels of ``resolution``^3 to signed distances at their 8^3 children each."""

    resolution: int = 64
    channels: int = 16
    width: int = 512
    hidden: int = 2048
    blocks: int = 4
    heads: int = 8
    window: int = 8

    def __post_init__(self) -> None:
        _check(self, self.width, self.width, self.heads)
        if self.width % 16:
            raise ValueError(f"a width of {self.width} is no multiple of 16")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first doubling of the lattice and after each."""
        return (self.width, self.width // 4, self.width // 8, self.width // 16)


def dense_flow_config(shapes: Shapes, settings: Settings) -> DenseFlowConfig:
    """Of tensors with these names, without the part before, and their settings.

    Raises LookupError, TypeError or ValueError where they are of no such model.
    """
    width, channels = shapes["input_layer.weight"]
    if (patch := settings.get("patch_size", 1)) != 1:
        raise ValueError(f"tokens stand for {patch}^3 voxels")
    heads = settings.get("num_heads") or width // int(settings.get("num_head_channels", HEAD_CHANNELS))
    return DenseFlowConfig(
        resolution=int(settings.get("resolution", DenseFlowConfig.resolution)),
        channels=channels,
        width=width,
        hidden=shapes["blocks.0.mlp.mlp.0.weight"][0],
        blocks=layer_count(shapes, "blocks."),
        heads=int(heads),
        condition_width=shapes["blocks.0.cross_attn.cross_attn_block.to_kv.weight"][1],
        norms="blocks.0.self_attn.q_rms_norm.gamma" in shapes,
        cross_norms="blocks.0.cross_attn.cross_attn_block.q_rms_norm.gamma" in shapes,
    )


def sparse_flow_config(shapes: Shapes, settings: Settings) -> SparseFlowConfig:
    """Of tensors with these names, without the part before, and their settings; raises as `dense_flow_config`."""
    width, channels = shapes["input_layer.weight"]
    attention = "blocks.0.self_attn"
    heads = int(settings.get("num_heads", SparseFlowConfig.heads))
    return SparseFlowConfig(
        resolution=int(settings.get("resolution", SparseFlowConfig.resolution)),
        channels=channels,
        width=width,
        hidden=shapes["blocks.0.mlp.mlp.0.weight"][0],
        blocks=layer_count(shapes, "blocks."),
        heads=heads,
        condition_width=shapes["blocks.0.cross_attn.cross_attn_block.to_kv.weight"][1],
        key_heads=shapes[f"{attention}.proj_k.weight"][0] // max(width // heads, 1),
        compression=shapes[f"{attention}.intra_block_pe"][0],
        selection=int(settings.get("selection_block_size", SparseFlowConfig.selection)),
        most_selected=int(settings.get("topk", SparseFlowConfig.most_selected)),
        window=int(settings.get("window_size", SparseFlowConfig.window)),
        shifted=bool(settings.get("use_shift", SparseFlowConfig.shifted)),
        position_scale=float(settings.get("factor", SparseFlowConfig.position_scale)),
        convolves=f"{attention}.compression_key.out_layers.0.conv.kernel" in shapes,
        projects="cond_proj.weight" in shapes,
        cross_norms="blocks.0.cross_attn.cross_attn_block.q_rms_norm.gamma" in shapes,
    )


def sdf_decoder_config(shapes: Shapes, settings: Settings) -> SdfDecoderConfig:
    """Of tensors with these names, without the part before, and their settings; raises as `dense_flow_config`."""
    width, channels = shapes["input_layer.weight"]
    return SdfDecoderConfig(
        resolution=int(settings.get("resolution", SdfDecoderConfig.resolution)),
        channels=channels,
        width=width,
        hidden=shapes["blocks.0.mlp.mlp.0.weight"][0],
        blocks=layer_count(shapes, "blocks."),
        heads=int(settings.get("num_heads_decoder", SdfDecoderConfig.heads)),
    )


def _check(config: Any, width: int, condition_width: int, heads: int) -> None:
    numbers = [getattr(config, field.name) for field in fields(config)]
    if min(numbers) < 0 or min(number for number in numbers if not isinstance(number, bool)) <= 0:
        raise ValueError(f"a dimension is {min(numbers)}, which is not positive")
    if width % heads or width < LEAST_HEAD:
        raise ValueError(f"a width of {width} does not divide into {heads} heads")
    if width != condition_width:
        raise ValueError(f"{condition_width} channels of pictures cannot be added to {width} of voxels")
