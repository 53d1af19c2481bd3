"""Reconstruct Views: from views to meshes in one pass of a large reconstruction model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from comfy_api.latest import io

from ..pipelines.lrm.held_model import HeldModel, surface_bytes
from ..pipelines.lrm.mesh import RESOLUTIONS
from ..pipelines.lrm.reconstruct import NETWORK, LrmOptions, LrmReconstruction, mesh_from_planes, view_planes
from ..pipelines.progress import Progress, Stage
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import halved, lowered, map_batch
from .compute import compute_device, within_memory
from .sockets import ReconstructionModels, ViewBatch, Views, mesh_outputs

NO_TEXTURE = "none"
TEXTURES = (NO_TEXTURE, "512", "1024", "2048", "4096")
NO_SURFACE = (
    "The model found no surface, so this is the visual hull of the views in their colours: the object may be unlike "
    "what the model was trained on, or the views do not belong to their rig."
)


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
                    tooltip="The views with their cameras: four from Generate Views or a bundle, or six. The model "
                    "reads their colours; their outlines tell what is background, and the size. A batch gives a batch "
                    "of meshes.",
                ),
                io.Int.Input(
                    "resolution",
                    default=0,
                    min=0,
                    max=512,
                    step=8,
                    tooltip="Cubes per side of the grid in which the surface is found, at least 8; 0 takes the model's "
                    "own, 128 for PRM and InstantMesh. Memory and time of this step grow with its cube.",
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
                    tooltip="Also bake the metallic and roughness that PRM predicts into the texture, so it needs one. "
                    "InstantMesh knows none.",
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
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="How well the mesh fits the views, and what to know about it.",
                ),
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
        asked = LrmOptions(
            resolution=resolution or model.config.grid_resolution,
            fit=fit_size,
            texture=0 if texture == NO_TEXTURE else int(texture),
            target_faces=target_faces,
            material=material,
        )
        asked.check(model.config)

        def read(item: tuple[ViewSet, torch.Tensor], _: None, progress: Progress) -> tuple[LrmReconstruction, str]:
            shown, transform = item
            planes = view_planes(model, shown, Stage(progress, 0, NETWORK, 100))
            reading = Stage(progress, NETWORK, 100, 100)

            def with_detail(detail: _Detail) -> tuple[LrmReconstruction, str]:
                options = replace(asked, resolution=detail.resolution, texture=detail.texture)
                device = compute_device(surface_bytes(model.config, detail.resolution, detail.texture))
                result = mesh_from_planes(model, planes.to(device), shown, options, reading)
                return result, report_text(result, model.domain, detail.lowered(details[0]))

            result, text = within_memory(with_detail, details, "lower resolution or texture")
            return replace(result, mesh=result.mesh.with_(transform=transform)), text

        details = _Detail.attempts(asked)
        results = map_batch(views.framed(), read, [None], "use fewer views, or load the model in bf16")
        text = "\n\n".join(text for _, text in results)
        return io.NodeOutput(*interop.emit([result.mesh for result, _ in results]), text, ui={"text": [text]})


@dataclass(frozen=True)
class _Detail:
    """What the memory for reading a mesh off the model grows with."""

    resolution: int
    texture: int

    def __str__(self) -> str:
        return f"resolution {self.resolution}" + (f" and texture {self.texture}" if self.texture else "")

    @classmethod
    def attempts(cls, options: LrmOptions) -> list[_Detail]:
        """What is asked for and, where there is less, that."""
        assert options.resolution is not None
        asked = cls(options.resolution, options.texture)
        less = cls(halved(asked.resolution, RESOLUTIONS[0])[-1], halved(asked.texture)[-1])
        return [asked] if less == asked else [asked, less]

    def lowered(self, asked: _Detail) -> list[str]:
        """The lines of a report on what had to be lowered."""
        return [
            *lowered("resolution", asked.resolution, self.resolution),
            *lowered("texture", asked.texture, self.texture),
        ]


def report_text(result: LrmReconstruction, domain: str, notes: list[str]) -> str:
    """The figures of a reconstruction and what to know about it, for people."""
    size = f"{len(result.mesh.faces):,} faces, {len(result.mesh.vertices):,} vertices"
    if result.from_hull:
        lines = [size, NO_SURFACE]
    else:
        lines = [f"{size}; scaled by {1.0 / result.scale:.3f} to fit the outlines"]
    for number, overlap in enumerate(result.overlaps, 1):
        shown = "shows nothing" if math.isnan(overlap) else f"outline overlap {overlap:.4f}"
        lines.append(f"View {number}: {shown}")
    return "\n".join([*lines, *notes, *([domain] if domain else [])])


NODES = [Bundle3D_ReconstructViews]
