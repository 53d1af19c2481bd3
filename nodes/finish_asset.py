"""Finish Asset: from the voxels that Pixal3D drew to meshes that can be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.harmonic_fill import joined_at_seams
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.thickness import mean_thickness
from ..pipelines.meshes.topology import components, is_watertight
from ..pipelines.pixal3d.finish.asset import finish_asset
from ..pipelines.pixal3d.finish.options import ALPHA_MODES, FRONTS, SURFACES, UP_AXES, FinishOptions
from ..pipelines.pixal3d.pictured_object import PicturedObject, asset_alignment, placed_asset
from ..pipelines.progress import Progress
from . import interop
from .batch import halved, lowered, map_batch, paired
from .compute import within_memory
from .pixal3d_pictures import pictured, pictures_input
from .pixal3d_sockets import DecodedObject, ObjectBatch, Pixal3DVoxels
from .sockets import ViewBatch, mesh_outputs

NO_TEXTURE = "none"
TEXTURES = (NO_TEXTURE, "512", "1024", "2048", "4096", "8192")
LEAST_TEXTURE = 256
HOLLOW = 2.0  # cells, of walls between an outside and another that should be an inside


class Bundle3D_FinishAsset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_FinishAsset",
            display_name="Finish Asset",
            category="Bundle3D/pixal3d",
            description="Makes a clean, textured mesh of decoded voxels: closed, simplified, unwrapped and baked.",
            search_aliases=["pixal3d export", "voxel to mesh", "remesh", "decimate", "watertight", "bake pbr", "glb"],
            inputs=[
                Pixal3DVoxels.Input("voxels", tooltip="The voxels, from Pixal3D Decode or Pixal3D Image to 3D."),
                pictures_input(optional=True),
                *finish_inputs(),
                io.Int.Input(
                    "remesh",
                    default=FinishOptions.remesh,
                    min=0,
                    max=2048,
                    tooltip="Cells along the object's cube of the surface that is made anew; 0: as many as voxels. "
                    "Fewer make it smoother. raw has none.",
                    advanced=True,
                ),
                io.Float.Input(
                    "project_back",
                    default=FinishOptions.project_back,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How far the vertices of a watertight surface go back to the decoded one: 0 leaves a shell "
                    "around it, 1 brings back every detail. Thin sheets keep the rest as thickness.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "alpha_mode",
                    options=list(ALPHA_MODES),
                    default=FinishOptions.alpha_mode,
                    tooltip="What the material does with the alpha that was drawn. OPAQUE: nothing. MASK: cut out. "
                    "BLEND: see through.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "up",
                    options=list(UP_AXES),
                    default=FinishOptions.up,
                    tooltip="The axis that points up: +Y in glTF and here, +Z in Blender and for printing.",
                    advanced=True,
                ),
                io.Combo.Input(
                    "front",
                    options=list(FRONTS),
                    default=FinishOptions.front,
                    tooltip="The axis to which the side that the first picture shows is turned: +Z here, -Z in the "
                    "files of the published system.",
                    advanced=True,
                ),
                io.Float.Input(
                    "size",
                    default=FinishOptions.size,
                    min=0.001,
                    max=1000.0,
                    step=0.1,
                    tooltip="Side of the object's cube in units of the mesh: 2 here, 1 in the published system.",
                    advanced=True,
                ),
                io.Float.Input(
                    "crease",
                    default=FinishOptions.crease,
                    min=1.0,
                    max=180.0,
                    step=1.0,
                    tooltip="Edges that bend by more degrees than this stay sharp in the normals; 180 smooths all, as "
                    "the published system does.",
                    advanced=True,
                ),
            ],
            outputs=[
                *mesh_outputs(),
                io.String.Output(
                    "report", display_name="report", tooltip="Size of the mesh, and how well it lies on its picture."
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        voxels: ObjectBatch[DecodedObject],
        surface: str,
        faces: int,
        texture: str,
        remesh: int,
        project_back: float,
        alpha_mode: str,
        up: str,
        front: str,
        size: float,
        crease: float,
        pictures: ObjectBatch[PicturedObject] | ViewBatch | None = None,
    ) -> io.NodeOutput:
        options = replace(
            finish_options(surface, faces, texture),
            remesh=remesh,
            project_back=project_back,
            alpha_mode=alpha_mode,
            up=up,
            front=front,
            size=size,
            crease=crease,
        )
        items = None if pictures is None else pictured(pictures)

        def work(
            pair: tuple[DecodedObject, PicturedObject | None], setting: None, progress: Progress
        ) -> tuple[Mesh, str]:
            return finished(*pair, options, progress)

        pairs = paired(voxels.items, items, "voxels and pictures")
        results = map_batch(pairs, work, [None], "lower texture or faces")
        return finish_output(results)


def finish_inputs() -> list[Any]:
    """The widgets of ``finish_options``, in its order."""
    return [
        io.Combo.Input(
            "surface",
            options=list(SURFACES),
            default=FinishOptions.surface,
            tooltip="watertight: one closed outer shell with nothing inside. released: the double shell of the "
            "published system. raw: the decoded surface, repaired, with its holes and insides.",
        ),
        io.Int.Input(
            "faces",
            default=FinishOptions.faces,
            min=0,
            max=10_000_000,
            step=1000,
            tooltip="About how many triangles the mesh has at most; 0 keeps all of them.",
        ),
        io.Combo.Input(
            "texture",
            options=list(TEXTURES),
            default=str(FinishOptions.texture),
            tooltip="Side of the textures in pixels: base colour, roughness and metallic, looked up in the voxels. "
            "none: a mesh without textures.",
        ),
    ]


def finish_options(surface: str, faces: int, texture: str) -> FinishOptions:
    """What ``finish_inputs`` ask for."""
    return FinishOptions(surface=surface, faces=faces, texture=0 if texture == NO_TEXTURE else int(texture))


def finished(
    decoded: DecodedObject, item: PicturedObject | None, options: FinishOptions, progress: Progress
) -> tuple[Mesh, str]:
    """The asset of one object in its place, and what to know about it; with half the texture where memory is short."""

    def make(texture: int) -> tuple[Mesh, str]:
        chosen = replace(options, texture=texture)
        outline = None if item is None else item.outline()
        mesh = finish_asset(decoded.grid, decoded.material, chosen, progress, outline)
        cells = (chosen.remesh or decoded.grid.resolution) / chosen.size if chosen.surface == "watertight" else None
        lines = [*_figures(mesh, cells), *lowered("texture", options.texture, texture)]
        if item is None:
            return mesh, "\n".join(lines)
        lines.append(f"First picture: outline overlap {asset_alignment(mesh, item, chosen).silhouette_iou:.4f}")
        return placed_asset(mesh, item, chosen), "\n".join(lines)

    return within_memory(make, halved(options.texture, LEAST_TEXTURE), "lower texture or faces")


def finish_output(results: list[tuple[Mesh, str]], *more: Any) -> io.NodeOutput:
    """The output of a node that finishes assets; ``more`` comes between meshes and report."""
    text = "\n\n".join(text for _, text in results)
    return io.NodeOutput(*interop.emit([mesh for mesh, _ in results]), *more, text, ui={"text": [text]})


def _figures(mesh: Mesh, cells: float | None) -> list[str]:
    """What there is of the asset ``mesh``, and whether it is hollow, if it was closed in ``cells`` to a unit."""
    whole = joined_at_seams(mesh)[0]
    closed, parts = is_watertight(whole.faces), int(components(whole.faces, len(whole.vertices)).max()) + 1
    figures = f"{len(mesh.faces):,} faces, {len(mesh.vertices):,} vertices, {'' if closed else 'not '}watertight"
    if parts > 1:
        figures += f", {parts} parts"
    lines = [figures]
    if cells is not None and (thickness := mean_thickness(whole) * cells) < HOLLOW:
        lines.append(
            f"Its walls are only {thickness:.1f} cells thick on average: if the object is solid, the outside reaches "
            "in through holes of what was drawn; try another seed, or fewer cells in remesh."
        )
    if not mesh.materials or mesh.materials[0].base_color_texture is None:
        return [*lines, "No texture"]
    height, width = mesh.materials[0].base_color_texture.shape[:2]
    return [*lines, f"Textures of {width} x {height} pixels"]


NODES = [Bundle3D_FinishAsset]
