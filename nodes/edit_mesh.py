"""Edit Mesh: what new views changed, brought into the mesh that the old ones show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.editing.edit_mesh import MODES, MeshEdit, edit_mesh
from ..pipelines.editing.region import Region
from ..pipelines.editing.shape import ShapeOptions
from ..pipelines.editing.studio_light import without_studio_light
from ..pipelines.editing.texture import SCALES, TextureOptions
from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import require_normalised
from ..pipelines.progress import Progress
from ..pipelines.views.view_set import ViewSet
from . import interop
from .bake_texture import RESOLUTIONS
from .batch import map_batch, paired
from .compute import as_output, compute_device
from .frames import in_frame
from .sockets import Regions, ViewBatch, Views, mesh_input, mesh_outputs

UNLIT, MATTE = LIGHTS = ("none", "matte")


@dataclass(frozen=True)
class _Job:
    mesh: Mesh
    before: ViewSet
    after: ViewSet
    transform: torch.Tensor
    region: Region | None
    target: Mesh | None


class Bundle3D_EditMesh(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_EditMesh",
            display_name="Edit Mesh",
            category="Bundle3D/editing",
            description="Changes a mesh as its views were changed, and leaves the rest of it as it is, to the bit.",
            search_aliases=["retexture", "texture edit", "enhance mesh", "inpaint mesh", "mesh img2img", "edit views"],
            inputs=[
                mesh_input("mesh", "The mesh that the old views show."),
                Views.Input("before", tooltip="The views of this mesh, from Render Bundle, as it is now."),
                Views.Input(
                    "after",
                    tooltip="What became of these views: Split Bundle of the drawn bundle. They may be larger.",
                ),
                Regions.Input(
                    "region",
                    optional=True,
                    tooltip="What of the mesh may change, from Mesh Region. Without it, all of it.",
                ),
                mesh_input(
                    "reconstruction",
                    "The surface to take the geometry from, in the mode geometry and texture: the mesh that ISOMER "
                    "Reconstruct makes of the new views, started from this mesh.",
                    optional=True,
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="texture: base colours alone change. texture and normal map: the relief that the new "
                    "views show goes into normal maps, the geometry stays. geometry and texture: vertices move to the "
                    "reconstruction.",
                ),
                io.Combo.Input(
                    "texture_scale",
                    options=[str(scale) for scale in SCALES],
                    default=str(SCALES[0]),
                    tooltip="How many times the pixels a side that changed textures get, to hold the detail of larger "
                    "views.",
                ),
                io.Boolean.Input(
                    "new_uv",
                    default=False,
                    tooltip="Give what changes new texture coordinates where those of the mesh repeat, overlap or "
                    "leave the texture; its textures are baked anew there. Off: such meshes are refused.",
                ),
                io.Combo.Input(
                    "resolution",
                    options=list(RESOLUTIONS),
                    default="1024",
                    tooltip="Side of the textures that are made where the mesh has none, in pixels.",
                    advanced=True,
                ),
                io.Float.Input(
                    "sharpness",
                    default=TextureOptions.sharpness,
                    min=1.0,
                    max=32.0,
                    step=0.5,
                    tooltip="How much each spot belongs to the one view that sees it best. Higher is sharper, lower "
                    "blends the views more.",
                    advanced=True,
                ),
                io.Float.Input(
                    "reach",
                    default=ShapeOptions.reach,
                    min=0.005,
                    max=1.0,
                    step=0.005,
                    tooltip="How far vertices may move, as a share of the mesh's longest side.",
                    advanced=True,
                ),
                io.Int.Input(
                    "smoothing",
                    default=ShapeOptions.smoothing,
                    min=0,
                    max=50,
                    tooltip="Rounds in which the movement of a vertex is averaged with that of its neighbours.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "light",
                    options=list(LIGHTS),
                    default=UNLIT,
                    optional=True,
                    tooltip="In which light both views show the mesh. none: base colours alone, as Render Bundle's "
                    "shading unlit. matte: as its shading matte, and as bundle models draw; the light is taken out.",
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.Image.Output("base_color", display_name="base_color", tooltip="The changed base colour textures."),
                io.String.Output("report", display_name="report", tooltip="The figures of what changed."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        before: ViewBatch,
        after: ViewBatch,
        mode: str,
        texture_scale: str,
        new_uv: bool,
        resolution: str,
        sharpness: float,
        reach: float,
        smoothing: int,
        region: tuple[Region, ...] | None = None,
        reconstruction: Any = None,
        light: str = UNLIT,
    ) -> io.NodeOutput:
        device = compute_device()
        textures = TextureOptions(int(texture_scale), sharpness, int(resolution), new_uv)
        shape = ShapeOptions(reach=reach, smoothing=smoothing)
        targets = None if reconstruction is None else interop.accept(reconstruction)
        jobs = _jobs(interop.accept(mesh), before, after, region, targets)

        unlit = without_studio_light if light == MATTE else _as_they_are

        def edit(job: _Job, _: None, progress: Progress) -> MeshEdit:
            require_normalised(
                in_frame(job.mesh, job.transform), "connect the views that Render Bundle made of this mesh to before"
            )
            return edit_mesh(
                job.mesh.to(device) if device.type != "cpu" else job.mesh,
                unlit(job.before.to(device)),
                unlit(job.after.to(device)),
                mode,
                job.region,
                None if job.target is None else job.target.to(device),
                textures,
                shape,
                job.transform,
                progress,
            )

        edits = map_batch(jobs, edit, [None], "lower texture_scale, or use smaller textures or fewer triangles")
        meshes = [item.mesh.to("cpu") if device.type != "cpu" else item.mesh for item in edits]
        text = "\n\n".join(item.to_text() for item in edits)
        return io.NodeOutput(
            *interop.emit(meshes),
            as_output(interop.image_batch([_changed_texture(item) for item in edits])),
            text,
            ui={"text": [text]},
        )


def _as_they_are(views: ViewSet) -> ViewSet:
    return views


def _jobs(
    meshes: list[Mesh],
    before: ViewBatch,
    after: ViewBatch,
    regions: tuple[Region, ...] | None,
    targets: list[Mesh] | None,
) -> list[_Job]:
    """The items of all batches that belong together; one of any goes with all of the others."""
    shown = paired(paired(meshes, before.framed(), "meshes and views before"), list(after), "meshes and views after")
    chosen = paired(shown, regions, "meshes and regions")
    jobs = []
    for (((mesh, frame), new), region), target in paired(chosen, targets, "meshes and reconstructions"):
        if frame is None or new is None:
            raise Bundle3DError("Expected views of the mesh before and after, but got none; connect Render Bundle.")
        jobs.append(_Job(mesh, frame[0], new, frame[1], region, target))
    return jobs


def _changed_texture(edit: MeshEdit) -> torch.Tensor:
    """The base colour texture of which most texels changed; a white one where there is none."""
    changed = {texture.material: texture.changed for texture in edit.colors}
    textures = [m for m in edit.mesh.materials if m.base_color_texture is not None]
    best = max(textures, key=lambda material: changed.get(material.name, -1), default=None)
    if best is None or best.base_color_texture is None:
        return torch.full((1, 1, 3), 255, dtype=torch.uint8)
    return best.base_color_texture


NODES = [Bundle3D_EditMesh]
