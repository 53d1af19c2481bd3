"""Inspect Bundle: whether the views of bundles agree, in words, figures, a contact sheet and a viewer."""

from __future__ import annotations

import json
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.bundle.contact_sheet import contact_sheet
from ..pipelines.bundle.inspect import inspect_bundle
from ..pipelines.bundle.report import BundleReport
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.progress import Progress
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import map_batch, paired
from .compute import as_output
from .frames import in_frame
from .sockets import ViewBatch, Views, mesh_input
from .viewer_data import describe

Frame = tuple[ViewSet, torch.Tensor]
Inspected = tuple[BundleReport, torch.Tensor, dict[str, Any]]


class Bundle3D_InspectBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_InspectBundle",
            display_name="Inspect Bundle",
            category="Bundle3D/views",
            description="Tells whether the views of a bundle show one object, and shows them with their cameras.",
            search_aliases=["bundle viewer", "check bundle", "consistency", "contact sheet", "cameras", "normals"],
            is_output_node=True,
            inputs=[
                Views.Input(
                    "views", tooltip="The views to inspect. A batch gives one report and one sheet per bundle."
                ),
                mesh_input(
                    "mesh",
                    "The surface on which views are compared and positions are read. Without it the visual hull "
                    "stands in, so that differences are upper bounds.",
                    optional=True,
                ),
            ],
            outputs=[
                io.String.Output("report", display_name="report", tooltip="Findings and figures, as text."),
                io.Image.Output(
                    "contact_sheet",
                    display_name="contact_sheet",
                    tooltip="All tiles with their figures, one picture per bundle.",
                ),
                io.String.Output(
                    "figures", display_name="figures", tooltip="All figures, as JSON: one list item per bundle."
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(cls, views: ViewBatch, mesh: Any = None) -> io.NodeOutput:
        pairs = paired(views.framed(), None if mesh is None else interop.accept(mesh), "views and meshes")

        def inspect(pair: tuple[Frame, Mesh | None], _: None, progress: Progress) -> Inspected:
            (item, transform), surface = pair
            surface = None if surface is None else in_frame(surface, transform)
            report = inspect_bundle(item, mesh=surface)
            sheet = contact_sheet(item, report)
            progress(1, 2)
            data = describe(item, surface)
            progress(2, 2)
            return report, sheet, data

        results = map_batch(pairs, inspect, [None], "use smaller tiles")
        texts = [report_text(report) for report, _, _ in results]
        text = texts[0] if len(texts) == 1 else "\n\n".join(f"Bundle {i}\n{t}" for i, t in enumerate(texts, start=1))
        figures = json.dumps([report.as_dict() for report, _, _ in results], indent=1)
        return io.NodeOutput(
            text,
            as_output(torch.stack(_same_size([sheet for _, sheet, _ in results]))),
            figures,
            ui={"bundle3d_views": [data for _, _, data in results], "text": [text]},
        )


def report_text(report: BundleReport) -> str:
    """The findings and the main figures of a report, for people."""
    lines = [f"{finding.level}: {finding.text}" for finding in report.findings]
    for number, view in enumerate(report.views, start=1):
        rim = "" if view.rim_agreement is None else f", rim agreement {view.rim_agreement:.2f}"
        covers = f"covers {view.coverage:.1%}, hull overlap {view.hull_iou:.3f}"
        lines.append(f"View {number} ({view.azimuth:.0f} degrees): {covers}{rim}")
    for pair in report.pairs:
        if pair.color_difference is not None and pair.normal_angle is not None:
            lines.append(
                f"Views {pair.first + 1} and {pair.second + 1}: colours differ by {pair.color_difference:.3f}, "
                f"normals by {pair.normal_angle:.1f} degrees at {pair.points} points"
            )
    return "\n".join(lines)


def _same_size(sheets: list[torch.Tensor]) -> list[torch.Tensor]:
    """The sheets on white, each as large as the largest."""
    height, width = (max(sheet.shape[axis] for sheet in sheets) for axis in (0, 1))
    padded = []
    for sheet in sheets:
        page = torch.ones(height, width, 3)
        page[: sheet.shape[0], : sheet.shape[1]] = sheet
        padded.append(page)
    return padded


NODES = [Bundle3D_InspectBundle]
