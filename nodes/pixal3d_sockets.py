"""What flows between the nodes of Pixal3D: each socket carries a batch of objects, each object's value on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from comfy_api.latest import io

from ..pipelines.volumes.dual_grid import DualGrid
from ..pipelines.volumes.sparse_voxels import SparseVoxels

Item = TypeVar("Item")


@dataclass(frozen=True)
class ObjectBatch(Generic[Item]):
    """One value for each object of a batch."""

    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def _comfy_cache_tensors(self) -> list[torch.Tensor]:
        """The tensors that ComfyUI's cache has to count."""
        return _tensors(self.items)


@dataclass(frozen=True)
class StructureVoxels:
    """``coords`` (N, 4) int32, the coarse voxels that hold something of one object; ``noise``: the state in which the
    stage left the generator, which the next one goes on with."""

    coords: torch.Tensor
    noise: torch.Tensor


@dataclass(frozen=True)
class ShapeLatents:
    """``voxels`` (N, C) of one object's shape, of which a decoder makes ``resolution``^3; ``noise`` as before."""

    voxels: SparseVoxels
    resolution: int
    noise: torch.Tensor


@dataclass(frozen=True)
class TextureLatents:
    """``voxels`` (N, C) of one object's texture, at those of its shape."""

    voxels: SparseVoxels


@dataclass(frozen=True)
class DecodedObject:
    """One object's dual grid and, where it has a texture, the material (V, 6) of its voxels; on the CPU."""

    grid: DualGrid
    material: torch.Tensor | None


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    if dataclasses.is_dataclass(value):
        return [tensor for field in dataclasses.fields(value) for tensor in _tensors(getattr(value, field.name))]
    return []


Pixal3DModelSet = io.Custom("BUNDLE3D_PIXAL3D_MODELS")  # carries a Pixal3DModels
Pixal3DDModelSet = io.Custom("BUNDLE3D_PIXAL3D_D_MODELS")  # carries a Pixal3DDModels
Pixal3DPictures = io.Custom("BUNDLE3D_PIXAL3D_PICTURES")  # carries an ObjectBatch of PicturedObject
Pixal3DStructure = io.Custom("BUNDLE3D_PIXAL3D_STRUCTURE")  # carries an ObjectBatch of StructureVoxels
Pixal3DShape = io.Custom("BUNDLE3D_PIXAL3D_SHAPE")  # carries an ObjectBatch of ShapeLatents
Pixal3DTexture = io.Custom("BUNDLE3D_PIXAL3D_TEXTURE")  # carries an ObjectBatch of TextureLatents
Pixal3DVoxels = io.Custom("BUNDLE3D_PIXAL3D_VOXELS")  # carries an ObjectBatch of DecodedObject
