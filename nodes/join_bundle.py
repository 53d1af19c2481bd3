"""Join Bundle: from views, or from separate images, to bundle images."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.views.bundle import decode_normal_tiles, join_bundle
from ..pipelines.views.finite import require_finite
from ..pipelines.views.rig import Rig
from ..pipelines.views.view_set import ViewSet
from .compute import as_output
from .rigs import chosen_rig, rig_inputs
from .sockets import ViewBatch, Views


class Bundle3D_JoinBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_JoinBundle",
            display_name="Join Bundle",
            category="Bundle3D/views",
            description="Makes a 3D bundle image from views, with RGB, normals or masks that other nodes have "
            "changed, or from separate RGB and normal images.",
            search_aliases=["bundle image", "tile", "image grid", "encode normals", "multi view"],
            inputs=[
                Views.Input("views", optional=True, tooltip="The views to start from; their cameras are used."),
                io.Image.Input(
                    "rgb",
                    optional=True,
                    tooltip="RGB images that take the place of the views' own, one per camera, in the order of the "
                    "rig.",
                ),
                io.Image.Input(
                    "normal",
                    optional=True,
                    tooltip="Normal images, encoded as in a bundle, that take the place of the views' own.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Masks that take the place of the views' own."),
                *rig_inputs(),
            ],
            outputs=[
                io.Image.Output("bundle", display_name="bundle", tooltip="The bundle images."),
                Views.Output("views", display_name="views", tooltip="The same as views, for the other nodes."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        rig: str,
        orbit_views: int,
        orbit_elevation: float,
        orbit_distance: float,
        orbit_fov: float,
        views: ViewBatch | None = None,
        rgb: torch.Tensor | None = None,
        normal: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        if views is None and (rgb is None or normal is None):
            raise Bundle3DError("Expected views, or both RGB and normal images, but some are missing; connect them.")
        cameras = (
            views.items[0].rig if views else chosen_rig(rig, orbit_views, orbit_elevation, orbit_distance, orbit_fov)
        )
        given = [images for images in (rgb, normal, mask) if images is not None]
        count = len(views) if views else max(1, len(given[0]) // len(cameras))
        for images in given:
            if len(images) != count * len(cameras):
                raise Bundle3DError(
                    f"Expected {len(cameras)} images for each of {count} bundles, but got {len(images)}; connect one "
                    "image per camera, bundle after bundle, or choose the rig that fits."
                )
            require_finite(images)
        items = []
        for i in range(count):
            part = slice(i * len(cameras), (i + 1) * len(cameras))
            items.append(
                _replaced(
                    views.items[i] if views else None,
                    cameras,
                    None if rgb is None else rgb[part, ..., :3].cpu(),
                    None if normal is None else normal[part, ..., :3].cpu(),
                    None if mask is None else mask[part].cpu(),
                )
            )
        return io.NodeOutput(
            as_output(torch.stack([join_bundle(item) for item in items])),
            ViewBatch(tuple(items), views.transforms if views else ()),
        )


def _replaced(
    base: ViewSet | None,
    rig: Rig,
    rgb: torch.Tensor | None,
    normal: torch.Tensor | None,
    mask: torch.Tensor | None,
) -> ViewSet:
    """``base`` with the given images (V, H, W, C) in place of its own, at the size of the first one that is given."""
    first = next((images for images in (rgb, normal, mask) if images is not None), None)
    if base is not None and first is not None:
        base = _resized(base, first.shape[1], first.shape[2])
    if base is None:
        assert rgb is not None and normal is not None
        base = ViewSet(rgb, *decode_normal_tiles(normal, rgb, rig), rig)
    elif normal is not None:
        base = replace(base, normal=decode_normal_tiles(normal, base.rgb if rgb is None else rgb, base.rig)[0])
    covered = base.mask if mask is None else mask
    rgb = base.rgb if rgb is None else rgb
    return replace(base, rgb=rgb, mask=covered, normal=base.normal * (covered > 0.0)[..., None])


def _resized(views: ViewSet, height: int, width: int) -> ViewSet:
    if views.size == (height, width):
        return views

    def resize(images: torch.Tensor) -> torch.Tensor:
        scaled = torch.nn.functional.interpolate(
            images.movedim(-1, 1), (height, width), mode="bilinear", antialias=True
        )
        return scaled.movedim(1, -1)

    normal = torch.nn.functional.normalize(resize(views.normal), dim=-1)
    coord = None if views.coord is None else resize(views.coord)
    return ViewSet(resize(views.rgb), normal, resize(views.mask[..., None])[..., 0], views.rig, coord)


NODES = [Bundle3D_JoinBundle]
