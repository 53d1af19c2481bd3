"""Back-project: what pictures say of the volume, as slices that can be looked at."""

from __future__ import annotations

import torch
from comfy_api.latest import Types, io, ui

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject
from ..pipelines.pixal3d.volume_pictures import color_volume, feature_volume, slices
from ..pipelines.progress import Progress
from .batch import halved, lowered, map_batch
from .compute import as_output
from .pixal3d_pictures import pictured, pictures_input
from .pixal3d_sockets import ObjectBatch, Pixal3DModelSet
from .sockets import ViewBatch

COLORS = "colours"
# What a stage's features are called here.
STAGES = {
    "features of structure": "structure",
    "features of shape": "shape",
    "features of fine shape": "fine_shape",
    "features of texture": "texture",
}
LEAST = 8


class Bundle3D_Pixal3DBackProject(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DBackProject",
            display_name="Pixal3D Back-project",
            category="Bundle3D/pixal3d",
            description="Shows what Pixal3D's flows are told at each voxel: the pictures lifted along their rays.",
            search_aliases=[
                "back-projection",
                "feature volume",
                "visual hull",
                "lift features",
                "conditioning",
            ],
            is_output_node=True,
            inputs=[
                pictures_input(),
                io.Combo.Input(
                    "show",
                    options=[COLORS, *STAGES],
                    default=COLORS,
                    tooltip="colours: those of the pictures where each voxel appears. Else what a stage is told, as "
                    "the three strongest components of its features; that needs the models.",
                ),
                io.Int.Input(
                    "resolution",
                    default=32,
                    min=LEAST,
                    max=128,
                    step=8,
                    tooltip="Voxels along the object's cube. Features need memory with its cube: 270 MB at 32.",
                ),
                Pixal3DModelSet.Input(
                    "models", optional=True, tooltip="The models, from Load Pixal3D; colours need none."
                ),
            ],
            outputs=[
                io.Image.Output(
                    "slices",
                    display_name="slices",
                    tooltip="The layers of the volume as an image batch, from the one nearest to the first camera.",
                ),
                io.Voxel.Output(
                    "hull",
                    display_name="hull",
                    tooltip="In which share of the views each voxel lies on the object, for ComfyUI's Voxel to Mesh: "
                    "above 0.99 it is the visual hull.",
                ),
                io.String.Output("report", display_name="report", tooltip="What the volume is made of."),
            ],
        )

    @classmethod
    def execute(
        cls,
        pictures: ObjectBatch[PicturedObject] | ViewBatch,
        show: str,
        resolution: int,
        models: Pixal3DModels | None = None,
    ) -> io.NodeOutput:
        stage = None
        if show != COLORS:
            stage = None if models is None else getattr(models, STAGES[show])
            if stage is None:
                raise Bundle3DError(
                    f"Expected models with a flow for {show.removeprefix('features of ')}, but got none; connect them, "
                    f"or show {COLORS}."
                )

        def lift(item: PicturedObject, side: int, progress: Progress) -> tuple[torch.Tensor, torch.Tensor, str]:
            colors, share = color_volume(item, side)
            if stage is not None and models is not None:
                colors = feature_volume(models, item, stage.sight, side, progress)
            progress(1, 1)
            text = f"{len(item.pictures.cameras)} view(s), {side}^3 voxels, {float((share > 0.99).float().mean()):.1%} "
            lines = [text + "of them on the object in every view", *lowered("resolution", resolution, side)]
            return slices(colors), share.permute(2, 1, 0), "\n".join(lines)

        found = map_batch(pictured(pictures), lift, halved(resolution, LEAST), "lower resolution")
        if len({len(share) for _, share, _ in found}) > 1:
            raise Bundle3DError(
                f"Expected volumes of one size, but memory sufficed for {resolution} with some objects of the batch "
                "only; lower resolution."
            )
        images = as_output(torch.cat([layers for layers, _, _ in found]))
        hull = as_output(torch.stack([share for _, share, _ in found]))
        text = "\n".join(line for _, _, line in found)
        shown = {**ui.PreviewImage(images, cls=cls).as_dict(), "text": [text]}
        return io.NodeOutput(images, Types.VOXEL(hull), text, ui=shown)


NODES = [Bundle3D_Pixal3DBackProject]
