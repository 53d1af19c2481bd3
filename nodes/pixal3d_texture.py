"""Sample Texture: the latents of an object's material, at the voxels of its shape."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.conditioning import SeenPictures
from ..pipelines.pixal3d.models import Pixal3DModels
from ..pipelines.pixal3d.pictured_object import PicturedObject
from ..pipelines.pixal3d.sample import sample_texture
from ..pipelines.progress import Progress
from .batch import map_batch
from .pixal3d_pictures import pictures_input, with_pictures
from .pixal3d_sampling import chosen_sampling, later_noise, later_seed_input, sampling_inputs
from .pixal3d_sockets import (
    ObjectBatch,
    Pixal3DModelSet,
    Pixal3DShape,
    Pixal3DTexture,
    ShapeLatents,
    TextureLatents,
)
from .progress import sampler_previews
from .sockets import ViewBatch


class Bundle3D_Pixal3DTexture(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DTexture",
            display_name="Pixal3D Sample Texture",
            category="Bundle3D/pixal3d",
            description="Draws colour, metallic and roughness at the voxels of a shape.",
            search_aliases=["texture latent", "trellis2 texture", "pbr", "ksampler", "image to 3d"],
            inputs=[
                Pixal3DModelSet.Input("models", tooltip="The models, from Load Pixal3D."),
                pictures_input(),
                Pixal3DShape.Input(
                    "shape",
                    tooltip="The shape, from Pixal3D Sample Shape; of the published models not their coarse stage "
                    "alone.",
                ),
                later_seed_input(),
                *sampling_inputs(),
            ],
            outputs=[
                Pixal3DTexture.Output("texture", display_name="texture", tooltip="The texture, for Pixal3D Decode.")
            ],
        )

    @classmethod
    def execute(
        cls,
        models: Pixal3DModels,
        pictures: ObjectBatch[PicturedObject] | ViewBatch,
        shape: ObjectBatch[ShapeLatents],
        seed: int,
        steps: int,
        guidance: float,
        rescale: float,
    ) -> io.NodeOutput:
        if models.texture is None or models.texture_decoder is None:
            raise Bundle3DError(
                "Expected a flow and a decoder for textures, but these models have none; choose them in Load Pixal3D, "
                "or leave this node out."
            )
        if coarse := [one.resolution for one in shape if not models.has_texture(one.resolution)]:
            advice = "load a flow for fine shapes in Load Pixal3D"
            if models.has_texture(models.resolution):
                advice = f"choose {models.resolution} in Pixal3D Sample Shape"
            raise Bundle3DError(
                "Expected shapes as fine as those that the texture flow knows, but one has a resolution of "
                f"{coarse[0]}; {advice}."
            )
        sampling = chosen_sampling(models.texture.sampling, steps, guidance, rescale)

        def draw(
            item: tuple[int, tuple[PicturedObject, ShapeLatents]], setting: None, progress: Progress
        ) -> TextureLatents:
            index, (shown, latents) = item
            seen = SeenPictures(models.pictures, shown.pictures)
            noise = later_noise(latents.noise, seed, index)
            watched = sampler_previews(progress)
            return TextureLatents(sample_texture(models, [seen], latents.voxels, noise, sampling, watched))

        pairs = list(enumerate(with_pictures(pictures, shape)))
        found = map_batch(pairs, draw, [None], "lower the resolution of the shape")
        return io.NodeOutput(ObjectBatch(tuple(found)))


NODES = [Bundle3D_Pixal3DTexture]
