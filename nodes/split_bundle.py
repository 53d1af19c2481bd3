"""Split Bundle: from bundle images to views with cameras."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.progress import Progress
from ..pipelines.views.bundle import split_bundle
from ..pipelines.views.normals import encode_normals
from ..pipelines.views.rig import Rig
from ..pipelines.views.view_set import ViewSet
from .batch import map_batch, paired
from .compute import as_output
from .rigs import chosen_rig, rig_inputs
from .sockets import ViewBatch, Views

# An image, and the rig that saw it with its place in the world.
Placed = tuple[torch.Tensor, tuple[Rig, torch.Tensor]]


class Bundle3D_SplitBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_SplitBundle",
            display_name="Split Bundle",
            category="Bundle3D/views",
            description="Cuts a 3D bundle image into its views and decodes their normals, masks and cameras.",
            search_aliases=["bundle image", "untile", "decode normals", "multi view", "kiss3dgen"],
            inputs=[
                io.Image.Input(
                    "bundle",
                    tooltip="Bundle images: one row of RGB tiles over one row of normal tiles, and optionally one of "
                    "world coordinates; 4 to 8 columns of square tiles on white. A batch gives a batch of views.",
                ),
                *rig_inputs(),
                io.Boolean.Input(
                    "soft_mask",
                    default=True,
                    tooltip="Keep how much of each rim pixel the object covers, where the image is antialiased. Off: "
                    "every pixel is in or out.",
                    advanced=True,
                ),
                Views.Input(
                    "like",
                    optional=True,
                    tooltip="Views whose cameras, place and scale hold for these images too, as Render Bundle gives "
                    "them; the rig then does not count.",
                ),
            ],
            outputs=[
                Views.Output(
                    "views", display_name="views", tooltip="The views with their cameras, for the other nodes."
                ),
                io.Image.Output(
                    "rgb", display_name="rgb", tooltip="The RGB tiles as an image batch, bundle after bundle."
                ),
                io.Image.Output("normal", display_name="normal", tooltip="The normal tiles as colours, on white."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where the object is: 1 inside, 0 outside."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        bundle: torch.Tensor,
        rig: str,
        orbit_views: int,
        orbit_elevation: float,
        orbit_distance: float,
        orbit_fov: float,
        soft_mask: bool,
        like: ViewBatch | None = None,
    ) -> io.NodeOutput:
        cameras = chosen_rig(rig, orbit_views, orbit_elevation, orbit_distance, orbit_fov)
        known = (cameras, torch.eye(4, dtype=torch.float64))
        sources = None if like is None else [(views.rig, transform) for views, transform in like.framed()]
        placed = [
            (image, source or known)
            for image, source in paired(bundle.unbind(0), sources, "bundles and views like them")
        ]

        def split(item: Placed, setting: None, progress: Progress) -> ViewSet:
            image, (cameras, _) = item
            return split_bundle(image[..., :3].cpu(), cameras, soft_mask, progress)

        items = tuple(map_batch(placed, split, [None], "use smaller tiles"))
        colors = [encode_normals(v.normal, v.rig) * v.mask[..., None] + 1.0 - v.mask[..., None] for v in items]
        return io.NodeOutput(
            ViewBatch(items, tuple(transform for _, (_, transform) in placed)),
            as_output(torch.cat([views.rgb for views in items])),
            as_output(torch.cat(colors)),
            as_output(torch.cat([views.mask for views in items])),
        )


NODES = [Bundle3D_SplitBundle]
