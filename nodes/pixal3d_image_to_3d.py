"""Pixal3D Image to 3D: all stages of Pixal3D in one node."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.kernels import one_torch_thread
from ..pipelines.meshes.mesh import Mesh
from ..pipelines.pixal3d.draw import VoxelRequest, check_request, draw_voxels
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject, pictured_photo
from ..pipelines.progress import Progress, Stage
from .batch import map_batch, paired
from .compute import within_memory
from .finish_asset import finish_inputs, finish_options, finish_output, finished
from .pixal3d_camera import fov_input, radians
from .pixal3d_decode import on_cpu
from .pixal3d_pictures import advice, cut_and_crop, pictured
from .pixal3d_sampling import lowered_resolution, resolution_inputs, resolutions
from .pixal3d_sockets import DecodedObject, ObjectBatch, Pixal3DModelSet, Pixal3DPictures, Pixal3DVoxels
from .progress import sampler_previews
from .seeds import LARGEST_SEED, seed_input, seed_of
from .sockets import ViewBatch, Views, mesh_outputs

DRAWN, DONE = 80, 100  # of the progress
ADVICE = "lower resolution, load the models in bf16, or close what else is in memory"


class Bundle3D_Pixal3DImageTo3D(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DImageTo3D",
            display_name="Pixal3D Image to 3D",
            category="Bundle3D/pixal3d",
            description="Makes a textured mesh of a photo, or of views with cameras, in one node.",
            search_aliases=["pixal3d", "image to mesh", "multi view to 3d", "trellis2", "photo to 3d", "generate mesh"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D."),
                io.MultiType.Input(
                    "image",
                    types=[io.Image, Views, Pixal3DPictures],
                    tooltip="Photos of one object each, which are cut out and cropped here; or views in perspective, "
                    "such as a bundle's four; or pictures of Pixal3D Camera. A batch gives a batch of meshes.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="1 on the object of a photo, from Load Photo or Remove Background. Without it the image's "
                    "alpha tells it, or a plain background.",
                ),
                fov_input(),
                seed_input(
                    "Every seed draws another object; a batch takes this seed and those after it.", LARGEST_SEED
                ),
                *resolution_inputs(),
                *finish_inputs(),
            ],
            outputs=[
                *mesh_outputs(),
                Pixal3DVoxels.Output(
                    "voxels", display_name="voxels", tooltip="The voxels, to finish them otherwise with Finish Asset."
                ),
                Pixal3DPictures.Output(
                    "pictures", display_name="pictures", tooltip="The pictures with their cameras, as they were used."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="What was made, and how well it lies on its picture."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DModels,
        image: torch.Tensor | ViewBatch | ObjectBatch[PicturedObject],
        fov: float,
        seed: int,
        resolution: int,
        most_tokens: int,
        surface: str,
        faces: int,
        texture: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        options = finish_options(surface, faces, texture)
        asked = resolution or models.resolution
        check_request(models, VoxelRequest(resolution=asked, most_tokens=most_tokens))
        if isinstance(image, torch.Tensor):
            items = _photos(image, mask, fov)
        else:
            unused = [name for name, given in (("mask", mask is not None), ("fov", fov != 0.0)) if given]
            note = f"Not used, as the pictures come with their cameras: {', '.join(unused)}" if unused else ""
            items = [(item, note) for item in pictured(image)]

        def make(
            numbered: tuple[int, tuple[PicturedObject, str]], setting: None, progress: Progress
        ) -> tuple[DecodedObject, tuple[Mesh, str]]:
            index, (item, cut) = numbered
            own = seed_of(seed, index)

            def draw(resolution: int) -> DecodedObject:
                request = VoxelRequest(own, resolution, bool(options.texture), most_tokens)
                watched = Stage(sampler_previews(progress), 0, DRAWN, DONE)
                drawn = draw_voxels(models, [item.pictures], request, watched)
                return on_cpu(drawn.shape.grids[0], None if drawn.material is None else drawn.material.features)

            decoded = within_memory(draw, resolutions(models, asked), ADVICE)
            with one_torch_thread():
                mesh, text = finished(decoded, item, options, Stage(progress, DRAWN, DONE, DONE))
            used = decoded.grid.resolution
            first = f"Resolution {used}, {len(decoded.grid.coords):,} voxels, seed {own}"
            lines = [cut, first, text, *lowered_resolution(asked, used), *advice(models, item)]
            return decoded, (mesh, "\n".join(line for line in lines if line))

        made = map_batch(list(enumerate(items)), make, [None], ADVICE)
        voxels = ObjectBatch(tuple(decoded for decoded, _ in made))
        return finish_output([result for _, result in made], voxels, ObjectBatch(tuple(item for item, _ in items)))


def _photos(image: torch.Tensor, mask: torch.Tensor | None, fov: float) -> list[tuple[PicturedObject, str]]:
    """The objects of photos, cut out and cropped, and how."""
    masks = None if mask is None else mask.unbind(0)
    pairs: list[Any] = paired(image.unbind(0), masks, "images and masks")
    with one_torch_thread():
        cut = [cut_and_crop(*pair) for pair in pairs]
    return [(pictured_photo(square, own, radians(fov)), notes) for square, own, notes in cut]


NODES = [Bundle3D_Pixal3DImageTo3D]
