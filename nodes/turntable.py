"""Turntable: pictures of meshes that turn once."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.progress import Progress
from ..pipelines.rendering.render_mesh import MODES
from ..pipelines.rendering.turntable import turntable
from . import interop
from .batch import map_batch
from .compute import as_output, compute_device
from .sockets import mesh_input


class Bundle3D_Turntable(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Turntable",
            display_name="Turntable",
            category="Bundle3D/meshes",
            description="Renders a mesh that turns once in front of the camera.",
            search_aliases=["render mesh", "orbit", "spin", "preview mesh", "mesh to image", "mesh to video"],
            inputs=[
                mesh_input("mesh", "The meshes to render. The frames of a batch follow one another."),
                io.Int.Input(
                    "frames",
                    default=24,
                    min=1,
                    max=360,
                    tooltip="Number of pictures in one turn, the first from the front.",
                ),
                io.Int.Input("size", default=512, min=64, max=2048, step=64, tooltip="Side of a picture, in pixels."),
                io.Combo.Input(
                    "shading",
                    options=list(MODES),
                    default="shaded",
                    tooltip="shaded: materials in studio light. unlit: base colour. clay: grey. normal: normals as "
                    "in a bundle. depth: near is white. matte: in light, without gloss.",
                ),
                io.Float.Input(
                    "elevation",
                    default=15.0,
                    min=-80.0,
                    max=80.0,
                    step=1.0,
                    tooltip="How far the camera looks down on the mesh, in degrees.",
                ),
            ],
            outputs=[
                io.Image.Output("frames", display_name="frames", tooltip="The pictures, on white, as an image batch.")
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, mesh: Any, frames: int, size: int, shading: str, elevation: float) -> io.NodeOutput:
        device = compute_device()

        def render(item: Mesh, supersample: int, progress: Progress) -> torch.Tensor:
            return as_output(turntable(item.to(device), frames, size, shading, elevation, progress, supersample))

        pictures = map_batch(interop.accept(mesh), render, [2, 1], "lower size or frames")
        return io.NodeOutput(torch.cat(pictures) if len(pictures) > 1 else pictures[0])


NODES = [Bundle3D_Turntable]
