"""Bake Texture: from views to a textured mesh."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.simplify import simplify
from ..pipelines.progress import Progress, Stage
from ..pipelines.texturing.bake_views import BakeOptions, bake_views
from ..pipelines.texturing.unwrap import unwrap
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import halved, map_batch, paired
from .compute import as_output, compute_device
from .frames import in_frame
from .sockets import ViewBatch, Views, mesh_input, mesh_outputs

RESOLUTIONS = ("512", "1024", "2048", "4096")
STEPS = 100
SIMPLIFIED, UNWRAPPED = 20, 50  # of the steps


class Bundle3D_BakeTexture(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BakeTexture",
            display_name="Bake Texture",
            category="Bundle3D/texture",
            description="Gives a mesh a base colour texture and a normal map, projected from its views.",
            search_aliases=["project texture", "texture from views", "uv unwrap", "normal map", "retexture"],
            inputs=[
                mesh_input("mesh", "The mesh to texture, where the views show it, as ISOMER Reconstruct gives it."),
                Views.Input(
                    "views",
                    tooltip="The views with the colours and normals. After a reconstruction connect the views that "
                    "it gives, because it may have corrected the cameras.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=list(RESOLUTIONS),
                    default="2048",
                    tooltip="Side of the square textures, in pixels. 2048 keeps the detail of four tiles of 512.",
                ),
                io.Int.Input(
                    "target_faces",
                    default=60000,
                    min=0,
                    max=2000000,
                    step=1000,
                    tooltip="Simplify the mesh to about this many triangles first; 0 keeps all of them.",
                ),
                io.Boolean.Input(
                    "normal_map",
                    default=True,
                    tooltip="Also bake the normals of the views, so that detail which the mesh lacks still shows in "
                    "the light.",
                ),
                io.Boolean.Input(
                    "keep_uv",
                    default=False,
                    tooltip="Use the texture coordinates that the mesh has, and all of its triangles. Off: unwrap it.",
                    advanced=True,
                ),
                io.Float.Input(
                    "sharpness",
                    default=8.0,
                    min=1.0,
                    max=32.0,
                    step=0.5,
                    tooltip="How much each spot belongs to the one view that sees it best. Higher is sharper, lower "
                    "blends the views more.",
                    advanced=True,
                ),
                io.Int.Input(
                    "padding",
                    default=4,
                    min=0,
                    max=32,
                    tooltip="Least distance between two patches of the texture, in pixels, so that their colours do "
                    "not mix from afar.",
                    advanced=True,
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.Image.Output("base_color", display_name="base_color", tooltip="The base colour textures."),
                io.Image.Output(
                    "normal_texture",
                    display_name="normal_texture",
                    tooltip="The normal maps in tangent space, green up; one flat colour without normal_map.",
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        views: ViewBatch,
        resolution: str,
        target_faces: int,
        normal_map: bool,
        keep_uv: bool,
        sharpness: float,
        padding: int,
    ) -> io.NodeOutput:
        device = compute_device()
        options = BakeOptions(power=sharpness, normal_map=normal_map)

        def bake(pair: tuple[Mesh, tuple[ViewSet, torch.Tensor] | None], resolution: int, progress: Progress) -> Mesh:
            item, frame = pair
            assert frame is not None
            shown, transform = frame
            surface = in_frame(item, transform)
            if not keep_uv or surface.uv is None:
                if target_faces:
                    surface = simplify(surface, target_faces)
                    progress(SIMPLIFIED, STEPS)
                stage = Stage(progress, SIMPLIFIED, UNWRAPPED, STEPS)
                surface, _ = unwrap(surface, resolution, padding, progress=stage)
            progress(UNWRAPPED, STEPS)
            stage = Stage(progress, UNWRAPPED, STEPS, STEPS)
            return bake_views(surface.to(device), shown.to(device), resolution, options, stage).to("cpu")

        pairs = paired(interop.accept(mesh), views.framed(), "meshes and views")
        baked = map_batch(pairs, bake, halved(int(resolution)), "lower resolution or target_faces")
        return io.NodeOutput(
            *interop.emit(baked),
            as_output(interop.image_batch([item.materials[0].base_color_texture for item in baked])),
            as_output(interop.image_batch([_normal_texture(item) for item in baked])),
        )


def _normal_texture(mesh: Mesh) -> torch.Tensor:
    """The normal map of a baked mesh; where there is none, a pixel that stands for a flat surface."""
    texture = mesh.materials[0].normal_texture
    return torch.tensor((128, 128, 255), dtype=torch.uint8).reshape(1, 1, 3) if texture is None else texture


NODES = [Bundle3D_BakeTexture]
