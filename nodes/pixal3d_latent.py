"""Latents of Pixal3D as the LATENT of ComfyUI's own nodes, and back."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.core_latents import core_latent, sparse_latents
from ..pipelines.pixal3d.models import Pixal3DModels
from .pixal3d_sampling import fresh_noise
from .pixal3d_sockets import (
    ObjectBatch,
    Pixal3DModelSet,
    Pixal3DShape,
    Pixal3DTexture,
    ShapeLatents,
    TextureLatents,
)
from .seeds import LARGEST_SEED, seed_input

NOISE = "bundle3d_noise"  # (B, S) uint8 in a LATENT: what each object's later stages go on with


class Bundle3D_Pixal3DToLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DToLatent",
            display_name="Pixal3D to Latent",
            category="Bundle3D/pixal3d",
            description="Hands latents of a shape or a texture to ComfyUI's own nodes for Pixal3D, as their LATENT.",
            search_aliases=["trellis2 latent", "convert latent", "upsample stage", "texture stage", "vae decode shape"],
            inputs=[
                _models_input(),
                io.MultiType.Input(
                    "latents",
                    types=[Pixal3DShape, Pixal3DTexture],
                    tooltip="The shape, from Pixal3D Sample Shape, or the texture, from Pixal3D Sample Texture.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    "latent",
                    display_name="latent",
                    tooltip="The same for Trellis2 Upsample Stage, Trellis2 Texture Stage, KSampler and the decoders "
                    "of ComfyUI 0.34 and newer.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, models: Pixal3DModels, latents: ObjectBatch[ShapeLatents] | ObjectBatch[TextureLatents]
    ) -> io.NodeOutput:
        shapes = [one for one in latents if isinstance(one, ShapeLatents)]
        normalisation = models.shape_normalisation if shapes else models.texture_normalisation
        latent = core_latent([one.voxels for one in latents], normalisation)
        if shapes:
            latent[NOISE] = torch.stack([one.noise for one in shapes])
        return io.NodeOutput(latent)


class Bundle3D_Pixal3DLatentToShape(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DLatentToShape",
            display_name="Latent to Pixal3D Shape",
            category="Bundle3D/pixal3d",
            description="Takes a shape that ComfyUI's own nodes drew for Pixal3D's texture and decoding.",
            search_aliases=["trellis2 shape latent", "convert latent", "shape stage", "upsample stage", "ksampler"],
            inputs=[
                _models_input(),
                io.Latent.Input(
                    "latent",
                    tooltip="What KSampler drew from the latent of Trellis2 Shape Stage or Trellis2 Upsample Stage, "
                    "with a conditioning of Pixal3D; or from that of Pixal3D to Latent.",
                ),
                seed_input(
                    "The noise that later stages go on with: 0 takes the one that Pixal3D to Latent left with the "
                    "latents, if they come from there; any other number starts anew. A batch takes those after it.",
                    LARGEST_SEED,
                ),
            ],
            outputs=[
                Pixal3DShape.Output(
                    "shape", display_name="shape", tooltip="The shape, for Pixal3D Sample Texture and Pixal3D Decode."
                )
            ],
        )

    @classmethod
    def execute(cls, models: Pixal3DModels, latent: dict[str, Any], seed: int) -> io.NodeOutput:
        objects = sparse_latents(latent, models.shape_normalisation)
        noise = fresh_noise(seed, len(objects)) if seed or NOISE not in latent else latent[NOISE].unbind(0)
        if len(noise) != len(objects):
            raise Bundle3DError(
                f"Expected the noise of {len(objects)} objects in this LATENT, but it has that of {len(noise)}; choose "
                "another seed than 0."
            )
        shapes = [ShapeLatents(one, models.factor * one.resolution, state) for one, state in zip(objects, noise)]
        return io.NodeOutput(ObjectBatch(tuple(shapes)))


class Bundle3D_Pixal3DLatentToTexture(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DLatentToTexture",
            display_name="Latent to Pixal3D Texture",
            category="Bundle3D/pixal3d",
            description="Takes a texture that ComfyUI's own nodes drew for Pixal3D's decoding.",
            search_aliases=["trellis2 texture latent", "convert latent", "texture stage", "pbr", "ksampler"],
            inputs=[
                _models_input(),
                io.Latent.Input(
                    "latent",
                    tooltip="What KSampler drew from the latent of Trellis2 Texture Stage, with a conditioning of "
                    "Pixal3D; or from that of Pixal3D to Latent.",
                ),
            ],
            outputs=[
                Pixal3DTexture.Output(
                    "texture",
                    display_name="texture",
                    tooltip="The texture, for Pixal3D Decode with the shape that it was drawn for.",
                )
            ],
        )

    @classmethod
    def execute(cls, models: Pixal3DModels, latent: dict[str, Any]) -> io.NodeOutput:
        objects = sparse_latents(latent, models.texture_normalisation)
        return io.NodeOutput(ObjectBatch(tuple(TextureLatents(one) for one in objects)))


def _models_input() -> Any:
    return Pixal3DModelSet.Input(
        "models",
        tooltip="The models, from Load Pixal3D, whose latents these are. ComfyUI's own nodes understand those of the "
        "published ones.",
    )


NODES = [Bundle3D_Pixal3DToLatent, Bundle3D_Pixal3DLatentToShape, Bundle3D_Pixal3DLatentToTexture]
