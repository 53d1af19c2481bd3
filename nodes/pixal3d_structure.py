"""Sample Structure: where in the volume an object is."""

from __future__ import annotations

import torch
from comfy_api.latest import Types, io

from ..pipelines.pixal3d.conditioning import SeenPictures
from ..pipelines.pixal3d.decode import decode_structure
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject
from ..pipelines.pixal3d.sample import sample_structure
from ..pipelines.progress import Progress
from .batch import map_batch
from .compute import as_output
from .pixal3d_pictures import advice, pictured, pictures_input
from .pixal3d_sampling import chosen_sampling, sampling_inputs
from .pixal3d_sockets import ObjectBatch, Pixal3DModelSet, Pixal3DStructure, StructureVoxels
from .progress import sampler_previews
from .seeds import LARGEST_SEED, seed_input, seed_of
from .sockets import ViewBatch


class Bundle3D_Pixal3DStructure(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DStructure",
            display_name="Pixal3D Sample Structure",
            category="Bundle3D/pixal3d",
            description="Draws where in the volume the object of the pictures is, the first stage of Pixal3D.",
            search_aliases=["sparse structure", "trellis2 structure", "occupancy", "ksampler", "image to 3d"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D."),
                pictures_input(),
                seed_input(
                    "Every seed draws another object; a batch takes this seed and those after it.", LARGEST_SEED
                ),
                *sampling_inputs(),
            ],
            outputs=[
                Pixal3DStructure.Output(
                    "structure", display_name="structure", tooltip="The voxels, for Pixal3D Sample Shape."
                ),
                io.Voxel.Output(
                    "occupancy", display_name="occupancy", tooltip="The same for ComfyUI's Voxel to Mesh: 1 inside."
                ),
                io.String.Output("report", display_name="report", tooltip="How many voxels there are."),
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DModels,
        pictures: ObjectBatch[PicturedObject] | ViewBatch,
        seed: int,
        steps: int,
        guidance: float,
        rescale: float,
    ) -> io.NodeOutput:
        sampling = chosen_sampling(models.structure.sampling, steps, guidance, rescale)

        def draw(item: tuple[int, PicturedObject], setting: None, progress: Progress) -> StructureVoxels:
            index, shown = item
            noise = torch.Generator().manual_seed(seed_of(seed, index))
            seen = SeenPictures(models.pictures, shown.pictures)
            latents = sample_structure(models, [seen], noise, sampling, sampler_previews(progress))
            return StructureVoxels(decode_structure(models, latents), noise.get_state())

        items = pictured(pictures)
        found = map_batch(list(enumerate(items)), draw, [None], "load the models in bf16")
        resolution = models.shape.flow.module.config.resolution
        text = "\n\n".join(
            "\n".join([f"{len(one.coords):,} of {resolution}^3 voxels, seed {seed_of(seed, i)}", *advice(models, item)])
            for i, (one, item) in enumerate(zip(found, items))
        )
        occupancy = torch.zeros(len(found), resolution, resolution, resolution)
        for cube, one in zip(occupancy, found):
            x, y, z = one.coords[:, 1:].long().unbind(1)
            cube[z, y, x] = 1.0  # as ComfyUI's voxels lie
        return io.NodeOutput(ObjectBatch(tuple(found)), Types.VOXEL(as_output(occupancy)), text, ui={"text": [text]})


NODES = [Bundle3D_Pixal3DStructure]
