"""Mesh Report: what meshes are worth, alone and beside a reference."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import normalise
from ..pipelines.metrics.geometry import GeometryScores, compare_meshes
from ..pipelines.metrics.report import MeshReport, mesh_report
from ..pipelines.progress import Progress
from . import interop
from .batch import map_batch, paired
from .frames import in_frame
from .seeds import seed_input
from .sockets import mesh_input


class Bundle3D_MeshReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_MeshReport",
            display_name="Mesh Report",
            category="Bundle3D/meshes",
            description="Counts and checks a mesh, and measures how far it is from a reference.",
            search_aliases=["mesh info", "watertight", "manifold", "chamfer distance", "f-score", "compare meshes"],
            is_output_node=True,
            inputs=[
                mesh_input("mesh", "The meshes to look at. A batch gives one report after the other."),
                mesh_input("reference", "What the mesh should be like; adds distances to the report.", optional=True),
                io.Boolean.Input(
                    "fit_boxes",
                    default=False,
                    tooltip="Move and scale both meshes to the same box before their distance is measured, where "
                    "they do not share place and scale.",
                ),
                seed_input("Seed of the points at which distances are measured."),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="All figures, as text."),
                io.String.Output(
                    "figures", display_name="figures", tooltip="All figures, as JSON: one list item per mesh."
                ),
                io.Boolean.Output(
                    "sound",
                    display_name="sound",
                    tooltip="Whether every mesh is watertight and manifold, in one piece and without inner shells.",
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, mesh: Any, fit_boxes: bool, seed: int, reference: Any = None) -> io.NodeOutput:
        references = None if reference is None else interop.accept(reference)

        def measure(
            pair: tuple[Mesh, Mesh | None], _: None, progress: Progress
        ) -> tuple[MeshReport, GeometryScores | None]:
            item, target = pair
            report = mesh_report(item)
            progress(1, 2)
            scores = None if target is None else _scores(item, target, fit_boxes, seed)
            progress(2, 2)
            return report, scores

        pairs = paired(interop.accept(mesh), references, "meshes and references")
        measured = map_batch(pairs, measure, [None], "simplify the mesh")
        text = "\n\n".join(_text(report, scores) for report, scores in measured)
        figures = [_figures(report, scores) for report, scores in measured]
        sound = all(_is_sound(report) for report, _ in measured)
        return io.NodeOutput(text, json.dumps(figures, indent=1), sound, ui={"text": [text]})


def _scores(mesh: Mesh, reference: Mesh, fit_boxes: bool, seed: int) -> GeometryScores:
    """Distances in the frame in which the reference spans -1 to 1."""
    target = normalise(reference)
    item = normalise(mesh) if fit_boxes else in_frame(mesh, target.transform)
    return compare_meshes(item, target, seed=seed)


def _is_sound(report: MeshReport) -> bool:
    return report.watertight and report.manifold and report.components == 1 and report.inner_shells == 0


def _text(report: MeshReport, scores: GeometryScores | None) -> str:
    if scores is None:
        return report.to_text()
    shares = "".join(f"\n    at {threshold}: {score:.4f}" for threshold, score in scores.f_score.items())
    return (
        f"{report.to_text()}\n  against the reference, which spans -1 to 1:\n    chamfer distance "
        f"{scores.chamfer:.5f}\n    normal consistency {scores.normal_consistency:.4f}\n  F-score{shares}"
    )


def _figures(report: MeshReport, scores: GeometryScores | None) -> dict[str, Any]:
    figures = report.to_dict()
    if scores is not None:
        figures["reference"] = {
            "chamfer": scores.chamfer,
            "chamfer_squared": scores.chamfer_squared,
            "f_score": {str(threshold): score for threshold, score in scores.f_score.items()},
            "normal_consistency": scores.normal_consistency,
        }
    return figures


NODES = [Bundle3D_MeshReport]
