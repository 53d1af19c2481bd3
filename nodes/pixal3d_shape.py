"""Sample Shape: the latents of an object's shape, coarse and then fine."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.pixal3d.conditioning import SeenPictures
from ..pipelines.pixal3d.decode import upsample_shape
from ..pipelines.pixal3d.draw import DECODING, VoxelRequest, check_request
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject
from ..pipelines.pixal3d.sample import sample_shape
from ..pipelines.progress import Progress, Stage
from .batch import map_batch
from .pixal3d_pictures import pictures_input, with_pictures
from .pixal3d_sampling import (
    chosen_sampling,
    later_noise,
    later_seed_input,
    lowered_resolution,
    resolution_inputs,
    resolutions,
    sampling_inputs,
)
from .pixal3d_sockets import (
    ObjectBatch,
    Pixal3DModelSet,
    Pixal3DShape,
    Pixal3DStructure,
    ShapeLatents,
    StructureVoxels,
)
from .progress import sampler_previews
from .sockets import ViewBatch


class Bundle3D_Pixal3DShape(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DShape",
            display_name="Pixal3D Sample Shape",
            category="Bundle3D/pixal3d",
            description="Draws the shape in the voxels of a structure: coarse first, then on the fine lattice.",
            search_aliases=["shape latent", "trellis2 shape", "upsample stage", "cascade", "ksampler", "image to 3d"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D."),
                pictures_input(),
                Pixal3DStructure.Input("structure", tooltip="The voxels, from Pixal3D Sample Structure."),
                later_seed_input(),
                *sampling_inputs(),
                *resolution_inputs(),
            ],
            outputs=[
                Pixal3DShape.Output(
                    "shape", display_name="shape", tooltip="The shape, for Pixal3D Sample Texture and Pixal3D Decode."
                ),
                io.String.Output("report", display_name="report", tooltip="How much was drawn, and what was lowered."),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DModels,
        pictures: ObjectBatch[PicturedObject] | ViewBatch,
        structure: ObjectBatch[StructureVoxels],
        seed: int,
        steps: int,
        guidance: float,
        rescale: float,
        resolution: int,
        most_tokens: int,
    ) -> io.NodeOutput:
        resolution = resolution or models.resolution
        check_request(models, VoxelRequest(resolution=resolution, most_tokens=most_tokens))
        sampling = chosen_sampling(models.shape.sampling, steps, guidance, rescale)

        def draw(
            item: tuple[int, tuple[PicturedObject, StructureVoxels]], wanted: int, progress: Progress
        ) -> ShapeLatents:
            index, (shown, voxels) = item
            progress = sampler_previews(progress)
            noise = later_noise(voxels.noise, seed, index)
            seen = [SeenPictures(models.pictures, shown.pictures)]
            each = len(shown.pictures.cameras) + sampling.evaluations()
            fine = wanted > models.coarse_resolution
            total = 2 * each + DECODING if fine else each
            coarse = Stage(progress, 0, each, total)
            latents = sample_shape(models, seen, voxels.coords, noise, sampling, coarse)
            if fine:
                decoding = Stage(progress, each, each + DECODING, total)
                coords, wanted = upsample_shape(models, latents, wanted, most_tokens, decoding)
                finer = Stage(progress, each + DECODING, total, total)
                latents = sample_shape(models, seen, coords, noise, sampling, finer, wanted // models.factor)
            return ShapeLatents(latents, wanted, noise.get_state())

        pairs = list(enumerate(with_pictures(pictures, structure)))
        found = map_batch(pairs, draw, resolutions(models, resolution), "lower resolution")
        text = "\n\n".join(
            "\n".join(
                [
                    f"Resolution {one.resolution}, {len(one.voxels.coords):,} voxels of latents",
                    *lowered_resolution(resolution, one.resolution),
                ]
            )
            for one in found
        )
        return io.NodeOutput(ObjectBatch(tuple(found)), text, ui={"text": [text]})


NODES = [Bundle3D_Pixal3DShape]
