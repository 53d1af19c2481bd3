"""What flows between nodes: the sockets, and the values behind our own one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.diffusion.control import Control
from ..pipelines.views.view_set import ViewSet


@dataclass(frozen=True)
class ViewBatch:
    """A batch of view sets, the value at a BUNDLE3D_VIEWS socket.

    ``transforms`` (4, 4) float64, one per item, take the frame that the views show to the object's own place and scale.
    """

    items: tuple[ViewSet, ...]
    transforms: tuple[torch.Tensor, ...] = ()

    def transform(self, index: int) -> torch.Tensor:
        """The transform of an item; the identity where none is known."""
        return self.transforms[index] if self.transforms else torch.eye(4, dtype=torch.float64)

    def framed(self) -> list[tuple[ViewSet, torch.Tensor]]:
        """Every item with its transform."""
        return [(item, self.transform(index)) for index, item in enumerate(self.items)]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[ViewSet]:
        return iter(self.items)

    def _comfy_cache_tensors(self) -> list[torch.Tensor]:
        """The tensors that ComfyUI's cache has to count."""
        images = [image for views in self.items for image in (views.rgb, views.normal, views.mask, views.coord)]
        return [image for image in images if image is not None]


# One control of a drawing: the same settings with a picture for each bundle of a batch, or one for all of them.
ControlBatch = tuple[Control, ...]

Views = io.Custom("BUNDLE3D_VIEWS")  # carries a ViewBatch
Models = io.Custom("BUNDLE3D_MODELS")  # carries a BundleModels
ViewModels = io.Custom("BUNDLE3D_MULTIVIEW_MODELS")  # carries a MultiviewModels
ControlNets = io.Custom("BUNDLE3D_CONTROL_NET")  # carries a ControlNet
Controls = io.Custom("BUNDLE3D_CONTROLS")  # carries a ControlBatch for each control
ReduxModels = io.Custom("BUNDLE3D_REDUX")  # carries a Redux
Regions = io.Custom("BUNDLE3D_REGION")  # carries a tuple of Region, one per mesh
ReconstructionModels = io.Custom("BUNDLE3D_RECONSTRUCTION_MODEL")  # carries a HeldModel

FILE_3D_TYPES = ("File3DGLB", "File3DGLTF", "File3DOBJ", "File3DPLY", "File3DSTL", "File3DAny")


def mesh_input(id: str, tooltip: str, optional: bool = False) -> io.MultiType.Input:
    """A socket that takes a mesh in every form that ComfyUI and common packs pass it in."""
    files = [getattr(io, name) for name in FILE_3D_TYPES if hasattr(io, name)]
    types = [io.Mesh, *files, io.Custom("TRIMESH")]
    return io.MultiType.Input(id, types=types, tooltip=tooltip, optional=optional)


def mesh_outputs() -> list[Any]:
    """The two outputs in which every node hands on its meshes; ``interop.emit`` makes their values."""
    return [
        io.Mesh.Output("mesh", display_name="mesh", tooltip="The mesh, or the batch of meshes."),
        io.File3DGLB.Output(
            "model_3d",
            display_name="model_3d",
            tooltip="The same as GLB files with all materials, one per mesh, for Preview 3D and Save 3D Model.",
            is_output_list=True,
        ),
    ]
