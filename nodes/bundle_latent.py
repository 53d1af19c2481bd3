"""Bundle Latent: where ComfyUI's samplers start a bundle."""

from __future__ import annotations

from typing import Any

import comfy.model_management as model_management
import torch
from comfy_api.latest import io

from ..pipelines.diffusion.control_image import resized
from .sizes import bundle_size, check_batch, size_inputs


class Bundle3D_BundleLatent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BundleLatent",
            display_name="Bundle Latent",
            category="Bundle3D/generation",
            description="An empty latent of a bundle's size, or the latent of an initial bundle image.",
            search_aliases=["empty latent", "empty sd3 latent", "vae encode bundle", "initial bundle"],
            inputs=[
                io.Vae.Input(
                    "vae", tooltip="The VAE whose latents the model draws; also says the size of an empty one."
                ),
                io.Image.Input(
                    "initial_image",
                    optional=True,
                    tooltip="A bundle image to start from, resized to the bundle's size. Give Bundle Schedule the "
                    "strength.",
                ),
                *size_inputs(),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="How many bundles to draw at once."),
            ],
            outputs=[
                io.Latent.Output(
                    "latent", display_name="latent", tooltip="Connect it to latent_image of Sampler Custom Advanced."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, vae: Any, width: int, height: int, batch_size: int, initial_image: torch.Tensor | None = None
    ) -> io.NodeOutput:
        factor = vae.spacial_compression_encode()
        native = getattr(vae.first_stage_model, "sample_size", None)
        height, width = bundle_size(width, height, native, 2 * factor)
        if initial_image is None:
            shape = (batch_size, vae.latent_channels, height // factor, width // factor)
            samples = torch.zeros(shape, device=model_management.intermediate_device())
        else:
            check_batch(initial_image, batch_size, "initial images")
            images = torch.stack([resized(image[..., :3], height, width) for image in initial_image])
            samples = vae.encode(images)
            samples = samples.expand(batch_size, *samples.shape[1:]).clone() if len(samples) == 1 else samples
        return io.NodeOutput({"samples": samples})


NODES = [Bundle3D_BundleLatent]
