"""Reference Bundle: from meshes, and the views that they were made of, to the bundles that a drawing starts from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.bundle.reference import COLORS, OUTLINES, ReferenceBundle, ReferenceOptions, reference_bundle
from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.progress import Progress
from ..pipelines.views.bundle import join_bundle
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import map_batch, paired
from .compute import as_output, compute_device
from .frames import in_frame
from .sockets import ViewBatch, Views, mesh_input

Photo = tuple[torch.Tensor, torch.Tensor]  # with its mask
POOR = 0.8  # of overlap: a mesh made of these views, or a photo of this side, has more


class Bundle3D_ReferenceBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ReferenceBundle",
            display_name="Reference Bundle",
            category="Bundle3D/views",
            description="Makes the bundle image that Generate Bundle starts from in image to 3D: the colours of "
            "multi-view images over the normals of the mesh made of them.",
            search_aliases=["initial image", "tile control", "image to bundle", "kiss3dgen", "image to 3d"],
            inputs=[
                mesh_input("mesh", "The mesh, where the views show it, as Reconstruct Views gives it."),
                Views.Input(
                    "views",
                    optional=True,
                    tooltip="The views that the mesh was made of. For their colours: of the front, left, back and "
                    "right, in any order. For the mesh's colours: any, and only the size is taken from them.",
                ),
                io.Combo.Input(
                    "colors",
                    options=list(COLORS),
                    default=COLORS[0],
                    tooltip="Where the upper row comes from. views: the views as they are. mesh, unlit: the mesh's "
                    "base colour. mesh, matte: the mesh in studio light, without gloss.",
                ),
                io.Int.Input(
                    "tile_size", default=512, min=64, max=2048, step=64, tooltip="Side of a square tile, in pixels."
                ),
                io.Float.Input(
                    "distance",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Distance of the cameras that render the mesh. 0: where it covers the views best, without "
                    "views 4.5. The reference renders its unscaled mesh from 4.15.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "tilted_normals",
                    default=False,
                    tooltip="Tilt the normals by 26.6 degrees, as the published Kiss3DGen code does by mistake, to "
                    "compare with it.",
                    advanced=True,
                ),
                io.Image.Input(
                    "photo",
                    optional=True,
                    tooltip="A photo of the front that takes the place of its colours, as in Kiss3DGen's paper; from "
                    "Prepare Photo.",
                ),
                io.Mask.Input(
                    "photo_mask", optional=True, tooltip="1 where the photo shows the object; from Prepare Photo."
                ),
                io.Combo.Input(
                    "outlines",
                    options=list(OUTLINES),
                    default=OUTLINES[0],
                    optional=True,
                    tooltip="Where the object ends. mesh: where its normals do, as in the published code. views: where "
                    "the views show it, so that ISOMER Reconstruct corrects a mesh that misses them.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    "bundle",
                    display_name="bundle",
                    tooltip="The bundle images, for the initial image of Generate Bundle and for Bundle Control.",
                ),
                Views.Output("views", display_name="views", tooltip="The same as views with their cameras."),
                io.String.Output(
                    "report", display_name="report", tooltip="How well the mesh fits the views, and the photo the mesh."
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        colors: str,
        tile_size: int,
        distance: float,
        tilted_normals: bool,
        views: ViewBatch | None = None,
        photo: torch.Tensor | None = None,
        photo_mask: torch.Tensor | None = None,
        outlines: str = OUTLINES[0],
    ) -> io.NodeOutput:
        device = compute_device()

        def make(
            job: tuple[tuple[Mesh, tuple[ViewSet, torch.Tensor] | None], Photo | None], tile: int, progress: Progress
        ) -> tuple[ReferenceBundle, torch.Tensor]:
            (item, frame), front = job
            shown, transform = frame or (None, item.transform)
            options = ReferenceOptions(colors, tile, distance or None, tilted_normals, outlines)
            surface, seen = in_frame(item, transform).to(device), None if shown is None else shown.to(device)
            made = reference_bundle(surface, seen, options, front, progress)
            return replace(made, views=made.views.to("cpu")), transform

        pairs = paired(interop.accept(mesh), None if views is None else views.framed(), "meshes and views")
        jobs = paired(pairs, _photos(photo, photo_mask), "meshes and photos")
        made = map_batch(jobs, make, [tile_size], "lower tile_size")
        text = "\n\n".join(report_text(item) for item, _ in made)
        return io.NodeOutput(
            as_output(torch.stack([join_bundle(item.views) for item, _ in made])),
            ViewBatch(tuple(item.views for item, _ in made), tuple(transform for _, transform in made)),
            text,
            ui={"text": [text]},
        )


def report_text(made: ReferenceBundle) -> str:
    """Where the cameras are and how well things fit, for people."""
    lines = [f"Cameras at a distance of {made.views.rig[0].distance:.3f}"]
    lines += [f"View {number}: outline overlap {overlap:.4f}" for number, overlap in enumerate(made.overlaps, 1)]
    if made.overlaps and min(made.overlaps) < POOR:
        lines.append(
            "The mesh does not fit these views well, so colours may lie beside it: connect the views that it was made "
            "of, or choose the colours of the mesh."
        )
    if made.photo_overlap is not None:
        lines.append(f"Photo: outline overlap {made.photo_overlap:.4f} with the front of the mesh")
        if made.photo_overlap < POOR:
            lines.append(
                "The photo does not fit the front of the mesh well: it may show another side, or from higher up; "
                "leave it out."
            )
    return "\n".join(lines)


def _photos(images: torch.Tensor | None, masks: torch.Tensor | None) -> list[Photo] | None:
    if images is None:
        if masks is not None:
            raise Bundle3DError(
                "Expected a photo for photo_mask, but none came; connect both outputs of Prepare Photo, or neither."
            )
        return None
    if masks is None or len(masks) != len(images):
        raise Bundle3DError(
            f"Expected one mask for each of {len(images)} photos, but got {0 if masks is None else len(masks)}; "
            "connect both outputs of Prepare Photo."
        )
    return list(zip(images[..., :3].cpu().float().unbind(0), masks.cpu().float().unbind(0)))


NODES = [Bundle3D_ReferenceBundle]
