"""Reconstruct Views: from views to meshes in one pass of a large reconstruction model."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..pipelines.lrm.held_model import HeldModel
from ..pipelines.lrm.reconstruct import LrmOptions, LrmReconstruction, reconstruct_views
from ..pipelines.progress import Progress
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import map_batch
from .sockets import ReconstructionModels, ViewBatch, Views, mesh_outputs

NO_TEXTURE = "none"
TEXTURES = (NO_TEXTURE, "512", "1024", "2048", "4096")


class Bundle3D_ReconstructViews(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ReconstructViews",
            display_name="Reconstruct Views",
            category="Bundle3D/reconstruction",
            description="Makes a coloured mesh from four or six views in one pass of a large reconstruction model.",
            search_aliases=[
                "lrm",
                "multi view to mesh",
                "views to 3d",
                "instantmesh",
                "prm",
                "kiss3dgen",
                "image to 3d",
            ],
            inputs=[
                ReconstructionModels.Input("model", tooltip="The model, from Load Reconstruction Model."),
                Views.Input(
                    "views",
                    tooltip="The views with their cameras: four from Generate Views or a bundle, or six. Only their "
                    "colours are read. A batch gives a batch of meshes.",
                ),
                io.Int.Input(
                    "resolution",
                    default=0,
                    min=0,
                    max=512,
                    step=8,
                    tooltip="Cubes per side of the grid in which the surface is found; 0 takes the model's own, 128 "
                    "for PRM and InstantMesh. Memory and time of this step grow with its cube.",
                ),
                io.Combo.Input(
                    "texture",
                    options=list(TEXTURES),
                    default=NO_TEXTURE,
                    tooltip="none: colours at the vertices only, enough as a start for ISOMER Reconstruct. Else the "
                    "side of a UV texture, in pixels, read off the model.",
                ),
                io.Int.Input(
                    "target_faces",
                    default=LrmOptions.target_faces,
                    min=0,
                    max=2000000,
                    step=1000,
                    tooltip="Simplify the mesh to about this many triangles before it gets a texture; 0 keeps all of "
                    "them. Without a texture nothing is simplified.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "material",
                    default=LrmOptions.material,
                    tooltip="Also bake the metallic and roughness that PRM predicts into the texture. InstantMesh "
                    "knows none.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "fit_size",
                    default=LrmOptions.fit,
                    tooltip="Scale the mesh so that it covers the outlines of the views best. Off: as the cameras of "
                    "the views say, which published models miss by up to a fifth.",
                    advanced=True,
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.String.Output("report", display_name="report", tooltip="How well the mesh fits the views."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: HeldModel,
        views: ViewBatch,
        resolution: int,
        texture: str,
        target_faces: int,
        material: bool,
        fit_size: bool,
    ) -> io.NodeOutput:
        options = LrmOptions(
            fit=fit_size,
            texture=0 if texture == NO_TEXTURE else int(texture),
            target_faces=target_faces,
            material=material,
        )

        def read(item: tuple[ViewSet, torch.Tensor], resolution: int, progress: Progress) -> LrmReconstruction:
            shown, transform = item
            result = reconstruct_views(model, shown, replace(options, resolution=resolution), progress)
            return replace(result, mesh=result.mesh.with_(transform=transform))

        own = resolution or model.config.grid_resolution
        results = map_batch(views.framed(), read, [own, own // 2], "lower resolution or texture")
        text = "\n\n".join(report_text(result) for result in results)
        return io.NodeOutput(*interop.emit([result.mesh for result in results]), text, ui={"text": [text]})


def report_text(result: LrmReconstruction) -> str:
    """The figures of a reconstruction, for people."""
    size = f"{len(result.mesh.faces):,} faces, {len(result.mesh.vertices):,} vertices"
    lines = [f"{size}; scaled by {1.0 / result.scale:.3f} to fit the outlines"]
    lines += [f"View {number}: outline overlap {overlap:.4f}" for number, overlap in enumerate(result.overlaps, 1)]
    return "\n".join(lines)


NODES = [Bundle3D_ReconstructViews]
