"""Compare Meshes: what is different between two states of a mesh, in pictures, words and figures."""

from __future__ import annotations

import json
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.editing.difference_pictures import DifferencePictures, difference_pictures
from ..pipelines.editing.mesh_difference import MeshDifference, mesh_difference, surface_distance
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import normalise
from ..pipelines.progress import Progress, Stage
from ..pipelines.rendering.render_mesh import MODES
from . import interop
from .batch import map_batch, paired
from .compute import as_output, compute_device
from .frames import in_frame
from .sockets import mesh_input

STEPS, MEASURED = 100, 30  # of the progress

Compared = tuple[MeshDifference, DifferencePictures]


class Bundle3D_CompareMeshes(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_CompareMeshes",
            display_name="Compare Meshes",
            category="Bundle3D/editing",
            description="Shows a mesh before and after a change beside each other, where it changed and by how much.",
            search_aliases=["diff", "mesh difference", "before and after", "heat map", "what changed", "turntable"],
            is_output_node=True,
            inputs=[
                mesh_input("before", "The mesh as it was."),
                mesh_input("after", "What became of it. One of either goes with every mesh of the other."),
                io.Int.Input(
                    "frames",
                    default=8,
                    min=1,
                    max=360,
                    tooltip="Number of pictures in one turn, the first from the front.",
                ),
                io.Int.Input(
                    "size",
                    default=384,
                    min=64,
                    max=1024,
                    step=64,
                    tooltip="Side of each of the two pictures, in pixels.",
                ),
                io.Combo.Input(
                    "shading",
                    options=list(MODES),
                    default="unlit",
                    tooltip="What is shown and compared. unlit: base colours. shaded: materials and normal maps in "
                    "light. normal: normals. clay: shape in light. matte and depth as in Turntable.",
                ),
                io.Float.Input(
                    "elevation",
                    default=15.0,
                    min=-80.0,
                    max=80.0,
                    step=1.0,
                    tooltip="How far the camera looks down on the meshes, in degrees.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    "frames", display_name="frames", tooltip="Before beside after, turning once, as an image batch."
                ),
                io.Image.Output(
                    "heat_map",
                    display_name="heat_map",
                    tooltip="The same turn: how much colours changed, and how far the surface is from the old one.",
                ),
                io.String.Output("report", display_name="report", tooltip="What changed and what did not, as text."),
                io.String.Output(
                    "figures", display_name="figures", tooltip="All figures, as JSON: one list item per mesh."
                ),
                io.Boolean.Output(
                    "identical", display_name="identical", tooltip="Whether nothing changed at all, to the bit."
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, before: Any, after: Any, frames: int, size: int, shading: str, elevation: float) -> io.NodeOutput:
        device = compute_device()

        def compare(pair: tuple[Mesh, Mesh | None], side: int, progress: Progress) -> Compared:
            old, new = pair
            assert new is not None
            apart = surface_distance(old, new, Stage(progress, 0, MEASURED, STEPS))
            shown = normalise(old)
            moved, surface = (in_frame(mesh, shown.transform) for mesh in (new, apart.surface))
            pictures = difference_pictures(
                shown.to(device),
                moved.to(device),
                surface.to(device),
                apart.distance,
                old.units,
                frames,
                side,
                shading,
                elevation,
                Stage(progress, MEASURED, STEPS, STEPS),
            )
            return mesh_difference(old, new, apart), pictures

        pairs = paired(interop.accept(before), interop.accept(after), "meshes before and after")
        compared = map_batch(pairs, compare, [size], "lower size or frames, or simplify the meshes")
        text = "\n\n".join(report_text(difference, pictures, shading) for difference, pictures in compared)
        figures = [
            {**difference.to_dict(), "colors_changed": seen.colors_changed, "mean_color_change": seen.mean_change}
            for difference, seen in compared
        ]
        return io.NodeOutput(
            as_output(torch.cat([pictures.frames for _, pictures in compared])),
            as_output(torch.cat([pictures.heat for _, pictures in compared])),
            text,
            json.dumps(figures, indent=1),
            all(difference.is_identical for difference, _ in compared),
            ui={"text": [text]},
        )


def report_text(difference: MeshDifference, pictures: DifferencePictures, shading: str) -> str:
    """The figures of one comparison, for people."""
    if not pictures.colors_changed:
        return f"{difference.to_text()}\n  the pictures ({shading}) are the same"
    return (
        f"{difference.to_text()}\n  of what the pictures ({shading}) show {pictures.colors_changed:.1%} changed, by "
        f"{pictures.mean_change:.3f} on average"
    )


NODES = [Bundle3D_CompareMeshes]
