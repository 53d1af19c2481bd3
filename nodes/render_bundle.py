"""Render Bundle: from meshes to bundle images."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.meshes.normalise import normalise as normalise_mesh
from ..pipelines.meshes.normalise import require_normalised
from ..pipelines.progress import Progress
from ..pipelines.rendering.render_views import render_views
from ..pipelines.views.bundle import ROWS, join_bundle
from ..pipelines.views.depth import depth_picture
from ..pipelines.views.view_set import ViewSet
from . import interop
from .batch import map_batch
from .compute import as_output, compute_device
from .rigs import chosen_rig, rig_inputs
from .sockets import ViewBatch, Views, mesh_input

SHADINGS = ("unlit", "shaded", "matte", "clay")


class Bundle3D_RenderBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_RenderBundle",
            display_name="Render Bundle",
            category="Bundle3D/views",
            description="Renders a mesh into a 3D bundle image: its views in colour over its normals.",
            search_aliases=["mesh to bundle", "multi view render", "render normals", "mesh to image", "kiss3dgen"],
            inputs=[
                mesh_input("mesh", "The meshes to render. A batch gives a batch of bundles."),
                io.Int.Input(
                    "tile_size", default=512, min=64, max=2048, step=64, tooltip="Side of a square tile, in pixels."
                ),
                io.Combo.Input(
                    "shading",
                    options=list(SHADINGS),
                    default="unlit",
                    tooltip="unlit: the base colour as it is, best for texturing again. shaded: in studio light. "
                    "matte: in the same light, but without gloss, as bundle generators were trained. clay: grey, "
                    "shape only.",
                ),
                io.Boolean.Input(
                    "normalise",
                    default=True,
                    tooltip="Move the mesh to the centre and scale its longest side to the size below. Off: the mesh "
                    "must lie within -1 to 1 already.",
                ),
                io.Float.Input(
                    "size",
                    default=2.0,
                    min=0.1,
                    max=2.0,
                    step=0.05,
                    tooltip="Longest side of the normalised mesh. 2.0 fills the space; Kiss3DGen's own renderer uses "
                    "1.8.",
                    advanced=True,
                ),
                io.Float.Input(
                    "turn",
                    default=0.0,
                    min=-180.0,
                    max=180.0,
                    step=1.0,
                    tooltip="Turns the mesh about its vertical axis, in degrees, so that its front faces the first "
                    "camera.",
                ),
                io.Boolean.Input(
                    "coordinates",
                    default=False,
                    tooltip="Add a third row that holds world coordinates as colours.",
                    advanced=True,
                ),
                *rig_inputs(),
            ],
            outputs=[
                io.Image.Output("bundle", display_name="bundle", tooltip="The bundle images."),
                Views.Output(
                    "views", display_name="views", tooltip="The views with their cameras, for the other nodes."
                ),
                io.Mask.Output("mask", display_name="mask", tooltip="Where the object is, view after view."),
                io.Image.Output(
                    "depth",
                    display_name="depth",
                    tooltip="Depths of the views for Bundle Control's mode depth: white near, grey far, black nothing.",
                ),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        mesh: Any,
        tile_size: int,
        shading: str,
        normalise: bool,
        size: float,
        turn: float,
        coordinates: bool,
        rig: str,
        orbit_views: int,
        orbit_elevation: float,
        orbit_distance: float,
        orbit_fov: float,
    ) -> io.NodeOutput:
        cameras = chosen_rig(rig, orbit_views, orbit_elevation, orbit_distance, orbit_fov)
        device = compute_device()
        placed = [_placed(item, size if normalise else None, turn) for item in interop.accept(mesh)]

        def render(item: Mesh, tile: int, progress: Progress) -> ViewSet:
            return render_views(item.to(device), cameras, tile, shading, coordinates=True, progress=progress).to("cpu")

        located = map_batch(placed, render, [tile_size], "lower tile_size")
        rows = ROWS[coordinates]
        items = located if coordinates else [replace(item, coord=None) for item in located]
        return io.NodeOutput(
            as_output(torch.stack([join_bundle(item) for item in items])),
            ViewBatch(tuple(items), tuple(item.transform for item in placed)),
            as_output(torch.cat([item.mask for item in items])),
            as_output(torch.stack([depth_picture(item) for item in located]).repeat(1, rows, 1, 1)),
        )


def _placed(mesh: Mesh, size: float | None, turn: float) -> Mesh:
    """``mesh`` in the frame that is rendered, with the transform that leads back."""
    mesh = _turned(mesh, turn)
    if size is not None:
        mesh = normalise_mesh(mesh, size)
    require_normalised(mesh, "switch normalise on")
    return mesh


def _turned(mesh: Mesh, turn: float) -> Mesh:
    """``mesh`` turned by ``turn`` degrees about +Y, from +Z toward +X."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    back = torch.eye(4, dtype=torch.float64)
    back[:3, :3] = torch.tensor(((cosine, 0.0, -sine), (0.0, 1.0, 0.0), (sine, 0.0, cosine)))
    rotation = back[:3, :3].to(mesh.vertices)  # for row vectors; as columns they turn back
    turned = {"vertices": mesh.vertices @ rotation}
    if mesh.normals is not None:
        turned["normals"] = mesh.normals @ rotation
    if mesh.tangents is not None:
        turned["tangents"] = torch.cat((mesh.tangents[:, :3] @ rotation, mesh.tangents[:, 3:]), dim=1)
    return mesh.with_(transform=mesh.transform @ back, **turned)


NODES = [Bundle3D_RenderBundle]
