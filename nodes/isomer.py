"""ISOMER Reconstruct: from views to meshes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.isomer.reconstruct import IsomerOptions, Reconstruction, reconstruct
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.progress import Progress
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import halved, lowered, map_batch, paired
from .compute import compute_device, gradients, thaw
from .frames import in_frame
from .seeds import seed_input
from .sockets import ViewBatch, Views, mesh_input, mesh_outputs

INITIAL = {"visual hull": "hull", "sphere": "sphere"}
LEAST_FACES = 5000


class Bundle3D_IsomerReconstruct(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_IsomerReconstruct",
            display_name="ISOMER Reconstruct",
            category="Bundle3D/reconstruction",
            description="Makes a closed, coloured mesh whose outlines and normals are those of the views, by "
            "optimisation.",
            search_aliases=[
                "bundle to mesh",
                "image to 3d",
                "multi view reconstruction",
                "kiss3dgen",
                "normals to mesh",
            ],
            inputs=[
                Views.Input("views", tooltip="The views of the object. A batch gives a batch of meshes."),
                mesh_input(
                    "initial_mesh",
                    "The mesh to start from, in place and scale of the views; one for all, or one per bundle. "
                    "Without it the start is the shape below.",
                    optional=True,
                ),
                io.Combo.Input(
                    "initial_shape",
                    options=list(INITIAL),
                    default="visual hull",
                    tooltip="Where to start without an initial mesh. visual hull: the largest body that fits all "
                    "outlines, nearly always best. sphere: one without holes.",
                ),
                io.Int.Input(
                    "faces",
                    default=IsomerOptions.faces,
                    min=LEAST_FACES,
                    max=500000,
                    step=1000,
                    tooltip="About how many triangles the mesh gets. Time grows with them.",
                ),
                io.Int.Input(
                    "coarse_steps",
                    default=IsomerOptions.stage_one_steps,
                    min=0,
                    max=500,
                    tooltip="Steps with long edges, before the fine ones. They pay off when the start is far from "
                    "the views.",
                ),
                io.Int.Input(
                    "refine_steps",
                    default=IsomerOptions.stage_two_steps,
                    min=0,
                    max=500,
                    tooltip="Steps with short edges that bring out the detail.",
                ),
                io.Int.Input(
                    "integration_steps",
                    default=IsomerOptions.integration_steps,
                    min=0,
                    max=200,
                    tooltip="Rounds that bend the start to the normals of the views before it is optimised; 0 leaves "
                    "it.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "fit_distance",
                    default=IsomerOptions.fit_distance,
                    tooltip="Find the distance of the cameras at which the outlines of the initial mesh fit best. "
                    "Needs an initial mesh; the views at the output carry the result.",
                    advanced=True,
                ),
                io.Int.Input(
                    "smoothing",
                    default=IsomerOptions.smoothing,
                    min=0,
                    max=50,
                    tooltip="Rounds of smoothing at the end. One takes off the grain of the optimisation.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "vertex_colors",
                    default=IsomerOptions.colors,
                    tooltip="Colour the vertices from the views. Bake Texture does not need them.",
                    advanced=True,
                ),
                seed_input(
                    "Equal seeds and inputs give exactly equal meshes on the CPU; on a GPU sums may differ in "
                    "their last bits."
                ),
                io.Boolean.Input(
                    "reference_exact",
                    default=False,
                    tooltip="Work as the published Kiss3DGen code does, with its flaws, to compare against it. Worse "
                    "in every other case.",
                    advanced=True,
                ),
            ],
            outputs=[
                *mesh_outputs(),
                Views.Output(
                    "views",
                    display_name="views",
                    tooltip="The views with the cameras that the mesh belongs to; connect them to Bake Texture.",
                ),
                io.String.Output("report", display_name="report", tooltip="How well the mesh fits the views."),
            ],
        )

    @classmethod
    def execute(
        cls,
        views: ViewBatch,
        initial_shape: str,
        faces: int,
        coarse_steps: int,
        refine_steps: int,
        integration_steps: int,
        fit_distance: bool,
        smoothing: int,
        vertex_colors: bool,
        seed: int,
        reference_exact: bool,
        initial_mesh: Any = None,
    ) -> io.NodeOutput:
        device = compute_device()

        def optimise(
            pair: tuple[tuple[ViewSet, torch.Tensor], Mesh | None], most: int, progress: Progress
        ) -> tuple[Reconstruction, str]:
            (item, transform), start = pair
            options = IsomerOptions(
                seed=seed,
                initial=INITIAL[initial_shape],
                integration_steps=integration_steps,
                stage_one_steps=coarse_steps,
                stage_two_steps=refine_steps,
                faces=most,
                smoothing=smoothing,
                fit_distance=fit_distance,
                colors=vertex_colors,
                reference_exact=reference_exact,
            )
            with gradients():
                initial = None if start is None else thaw(in_frame(start, transform)).to(device)
                result = reconstruct(thaw(item).to(device), options, initial, progress)
            text = "\n".join([report_text(result), *lowered("faces", faces, most)])
            return replace(result, mesh=result.mesh.to("cpu").with_(transform=transform)), text

        starts = None if initial_mesh is None else interop.accept(initial_mesh)
        pairs = paired(views.framed(), starts, "views and initial meshes")
        results = map_batch(pairs, optimise, halved(faces, LEAST_FACES), "lower faces or use smaller tiles")
        shown = tuple(replace(item, rig=result.rig) for ((item, _), _), (result, _) in zip(pairs, results))
        text = "\n\n".join(text for _, text in results)
        return io.NodeOutput(
            *interop.emit([result.mesh for result, _ in results]),
            ViewBatch(shown, tuple(transform for (_, transform), _ in pairs)),
            text,
            ui={"text": [text]},
        )


def report_text(result: Reconstruction) -> str:
    """The figures of a reconstruction, for people."""
    figures: dict[str, Any] = result.figures
    lines = [
        f"{figures['faces']:,} faces, {figures['vertices']:,} vertices, {figures['components']} part(s), "
        f"{'' if figures['watertight'] else 'not '}watertight, {'' if figures['manifold'] else 'not '}manifold",
        f"cameras at distance {_span(figures['distances'])}",
    ]
    rows = zip(figures["silhouette_iou"], figures["normal_mean"], figures["normal_median"])
    for number, (overlap, mean, median) in enumerate(rows, start=1):
        angles = f"normals off by {mean:.1f} degrees (mean) and {median:.1f} (median)"
        if math.isnan(mean):
            angles = "no normals to compare, for the mesh does not show where the object is"
        lines.append(f"View {number}: outline overlap {overlap:.4f}, {angles}")
    return "\n".join(lines)


def _span(distances: list[float]) -> str:
    low, high = min(distances), max(distances)
    return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"


NODES = [Bundle3D_IsomerReconstruct]
