"""Decode: from latents of shape and texture to voxels with surface and material."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.pixal3d.decode import decode_shape, decode_texture
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.progress import Progress, Stage
from ..pipelines.volumes.dual_grid import DualGrid
from .batch import map_batch, paired
from .pixal3d_sockets import (
    DecodedObject,
    ObjectBatch,
    Pixal3DModelSet,
    Pixal3DShape,
    Pixal3DTexture,
    Pixal3DVoxels,
    ShapeLatents,
    TextureLatents,
)


class Bundle3D_Pixal3DDecode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DDecode",
            display_name="Pixal3D Decode",
            category="Bundle3D/pixal3d",
            description="Decodes shape and texture into voxels with a surface and a material.",
            search_aliases=["vae decode", "trellis2 decode", "dual grid", "o-voxel", "image to 3d"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D."),
                Pixal3DShape.Input("shape", tooltip="The shape, from Pixal3D Sample Shape."),
                Pixal3DTexture.Input(
                    "texture",
                    optional=True,
                    tooltip="The texture of this shape, from Pixal3D Sample Texture; without it there is no material.",
                ),
            ],
            outputs=[
                Pixal3DVoxels.Output("voxels", display_name="voxels", tooltip="The voxels, for Finish Asset."),
                io.String.Output("report", display_name="report", tooltip="How many voxels there are."),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DModels,
        shape: ObjectBatch[ShapeLatents],
        texture: ObjectBatch[TextureLatents] | None = None,
    ) -> io.NodeOutput:
        def decode(
            pair: tuple[ShapeLatents, TextureLatents | None], setting: None, progress: Progress
        ) -> DecodedObject:
            latents, material = pair
            half = 2 if material is None else 1
            decoded = decode_shape(models, latents.voxels, Stage(progress, 0, half, 2))
            if material is None:
                return on_cpu(decoded.grids[0], None)
            found = decode_texture(models, material.voxels, decoded, Stage(progress, half, 2, 2))
            return on_cpu(decoded.grids[0], found.features)

        pairs = paired(shape.items, None if texture is None else texture.items, "shapes and textures")
        decoded = map_batch(pairs, decode, [None], "lower the resolution of the shape")
        text = "\n".join(
            f"Resolution {one.grid.resolution}, {len(one.grid.coords):,} voxels"
            + ("" if one.material is None else " with material")
            for one in decoded
        )
        return io.NodeOutput(ObjectBatch(tuple(decoded)), text, ui={"text": [text]})


def on_cpu(grid: DualGrid, material: torch.Tensor | None) -> DecodedObject:
    """What is kept of one decoded object."""
    tensors: dict[str, Any] = {
        field.name: value.cpu()
        for field in fields(grid)
        if isinstance(value := getattr(grid, field.name), torch.Tensor)
    }
    return DecodedObject(replace(grid, **tensors), None if material is None else material.float().cpu())


NODES = [Bundle3D_Pixal3DDecode]
