"""Views from Images: multi-view images of any other model or node as views with cameras."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.multiview.view_grid import NAMED_GRIDS, are_grids, named_grid, plain_grid
from ..pipelines.multiview.view_images import empty_views, views_from_images
from ..pipelines.progress import Progress
from ..pipelines.views.masks import OPAQUE, flattened
from ..pipelines.views.rig import Rig
from ..pipelines.views.view_set import ViewSet
from .batch import map_batch
from .compute import as_output
from .rigs import chosen_rig, rig_inputs
from .sockets import ViewBatch, Views

AUTOMATIC, SEPARATE, GRIDS = "automatic", "one view each", "grids, row by row"
# The pictures of an object and, where given, their masks.
Pictures = tuple[torch.Tensor, torch.Tensor | None]


class Bundle3D_ViewsFromImages(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ViewsFromImages",
            display_name="Views from Images",
            category="Bundle3D/multi-view",
            description="Gives views that any other node or program drew their cameras, so that they can become 3D.",
            search_aliases=[
                "multi view",
                "zero123",
                "era3d",
                "unique3d",
                "wonder3d",
                "mv-adapter",
                "orthographic views",
                "image grid",
                "untile",
            ],
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The views of an object as a batch of square images in the order of the rig, or all of "
                    "them in one picture. Several objects follow each other. A fourth channel is taken as alpha.",
                ),
                *rig_inputs(),
                io.Combo.Input(
                    "arrangement",
                    options=[AUTOMATIC, SEPARATE, GRIDS, *NAMED_GRIDS],
                    default=AUTOMATIC,
                    tooltip="automatic: single views where there are as many images as cameras, or a multiple, and "
                    "each is square with something on its middle lines, else grids. flexgen and zero123plus: the grids "
                    "that these models draw, with their own cameras in place of the rig.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="1 on the object, one mask for each image. Without them the object is where alpha says, "
                    "else what differs from the colour of the image's border.",
                ),
                io.Float.Input(
                    "orbit_first",
                    default=0.0,
                    min=-360.0,
                    max=360.0,
                    step=1.0,
                    optional=True,
                    tooltip="Where the first camera of the rig orbit stands, in degrees: 0 in front, 90 on the "
                    "object's own left, 180 behind.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "orbit_clockwise",
                    default=False,
                    optional=True,
                    tooltip="Which way the rig orbit goes, seen from above. Off: from the front to the object's own "
                    "left, which is to the right in the picture. On: the other way.",
                    advanced=True,
                ),
            ],
            outputs=[
                Views.Output(
                    "views", display_name="views", tooltip="The views with their cameras. Normals are unknown."
                ),
                io.Image.Output("rgb", display_name="rgb", tooltip="The views as an image batch, on white."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where the object is: 1 inside, 0 outside."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        images: torch.Tensor,
        rig: str,
        orbit_views: int,
        orbit_elevation: float,
        orbit_distance: float,
        orbit_fov: float,
        arrangement: str,
        masks: torch.Tensor | None = None,
        orbit_first: float = 0.0,
        orbit_clockwise: bool = False,
    ) -> io.NodeOutput:
        cameras = chosen_rig(rig, orbit_views, orbit_elevation, orbit_distance, orbit_fov, orbit_first, orbit_clockwise)
        if arrangement in NAMED_GRIDS:
            cameras = named_grid(arrangement).rig
        if not len(images):
            raise Bundle3DError("Expected images of an object's views, but the batch is empty; connect some.")
        if masks is not None and len(masks) != len(images):
            raise Bundle3DError(
                f"Expected {len(images)} masks, one for each image, but got {len(masks)}; connect the masks of the "
                "same images."
            )
        colors = flattened(images.cpu())
        if arrangement == AUTOMATIC:
            single = len(images) % len(cameras) == 0 and not are_grids(colors, len(cameras))
            arrangement = SEPARATE if single else GRIDS
        coverage = images[..., 3] if masks is None and images.shape[-1] == 4 else masks
        if arrangement == SEPARATE:
            objects = _groups(colors, coverage, len(cameras))
        else:
            objects = [_untiled(c, m, cameras, arrangement) for c, m in _groups(colors, coverage, 1)]

        def view(item: Pictures, setting: None, progress: Progress) -> ViewSet:
            shown, covered = item
            opaque = masks is None and covered is not None and bool((covered >= OPAQUE).all())
            views = views_from_images(shown, cameras, None if opaque else covered)
            empty = empty_views(views)
            if empty:
                raise Bundle3DError(
                    f"Expected an object in every view, but {empty} nothing but background; give masks, or draw the "
                    "views with another seed."
                )
            return views

        items = tuple(map_batch(objects, view, [None], "use smaller images"))
        return io.NodeOutput(
            ViewBatch(items),
            as_output(torch.cat([views.rgb for views in items])),
            as_output(torch.cat([views.mask for views in items])),
        )


def _groups(colors: torch.Tensor, masks: torch.Tensor | None, count: int) -> list[Pictures]:
    """Consecutive images, ``count`` for each object."""
    if len(colors) % count:
        raise Bundle3DError(
            f"Expected {count} images for each object, one for each camera of the rig, but got {len(colors)} in all; "
            "choose the rig of the views."
        )
    pieces = colors.split(count)
    return list(zip(pieces, [None] * len(pieces) if masks is None else masks.cpu().split(count)))


def _untiled(colors: torch.Tensor, masks: torch.Tensor | None, cameras: Rig, arrangement: str) -> Pictures:
    """The views in the one image of ``colors`` (1, H, W, 3)."""
    picture = colors[0]
    plain = arrangement not in NAMED_GRIDS
    grid = plain_grid(cameras, *picture.shape[:2]) if plain else named_grid(arrangement)
    if masks is not None and masks.shape[1:] != picture.shape[:2]:
        raise Bundle3DError(
            f"Expected masks of {picture.shape[1]} x {picture.shape[0]} pixels, as the images, but got "
            f"{masks.shape[2]} x {masks.shape[1]}; connect the masks of the same images."
        )
    return grid.split(picture), None if masks is None else grid.split(masks[0][..., None])[..., 0]


NODES = [Bundle3D_ViewsFromImages]
