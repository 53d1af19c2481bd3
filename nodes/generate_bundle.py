"""Generate Bundle: from a prompt, and pictures where there are any, to bundle images."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..pipelines.diffusion.draw import BundleRequest, draw_bundle
from ..pipelines.diffusion.models import BundleModels, Redux
from ..pipelines.errors import Bundle3DError
from ..pipelines.progress import Progress
from .batch import map_batch
from .compute import as_output
from .seeds import LARGEST_SEED, seed_input, seed_of
from .sizes import bundle_size, check_batch, size_inputs
from .sockets import ControlBatch, Controls, Models, ReduxModels


class Bundle3D_GenerateBundle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_GenerateBundle",
            display_name="Generate Bundle",
            category="Bundle3D/generation",
            description="Draws 3D bundle images, four colour views above four normal views, from a prompt.",
            search_aliases=["text to 3d", "text to bundle", "kiss3dgen", "flux sampler", "ksampler", "image to 3d"],
            inputs=[
                Models.Input("models", tooltip="The models, from Load Bundle Models."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What the object looks like. The sentence that bundle LoRAs were trained on is put in "
                    "front where it is not there yet.",
                ),
                seed_input("Every seed is another object; a batch takes this seed and those after it.", LARGEST_SEED),
                io.Int.Input(
                    "steps",
                    default=BundleRequest.steps,
                    min=1,
                    max=200,
                    tooltip="Steps from noise to picture; 20 to 30.",
                ),
                io.Float.Input(
                    "guidance",
                    default=BundleRequest.guidance,
                    min=0.0,
                    max=20.0,
                    step=0.1,
                    tooltip="How strongly to follow the prompt. The LoRAs were trained around 3.5.",
                ),
                *size_inputs(),
                io.Int.Input(
                    "batch_size", default=1, min=1, max=64, tooltip="How many bundles to draw, one after another."
                ),
                io.Image.Input(
                    "initial_image",
                    optional=True,
                    tooltip="A bundle image to start from, such as Render Bundle makes of a mesh.",
                ),
                io.Float.Input(
                    "strength",
                    default=BundleRequest.strength,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the initial image is drawn anew: 0 keeps it, 1 leaves nearly nothing of it.",
                ),
                Controls.Input("controls", optional=True, tooltip="Pictures to hold to, from Bundle Control."),
                ReduxModels.Input("redux", optional=True, tooltip="From Load Bundle Redux; for the Redux image."),
                io.Image.Input(
                    "redux_image", optional=True, tooltip="A picture of the object that adds to the prompt."
                ),
                io.Float.Input(
                    "redux_strength",
                    default=BundleRequest.redux_strength,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How much the Redux image counts beside the prompt.",
                ),
                io.Float.Input(
                    "lora_scale",
                    default=BundleRequest.lora_scale,
                    min=-4.0,
                    max=4.0,
                    step=0.05,
                    tooltip="Multiplies the strength of the loaded LoRA.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output(
                    "bundle", display_name="bundle", tooltip="The bundle images, for Split Bundle or Save Image."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        models: BundleModels,
        prompt: str,
        seed: int,
        steps: int,
        guidance: float,
        width: int,
        height: int,
        batch_size: int,
        strength: float,
        redux_strength: float,
        lora_scale: float,
        initial_image: torch.Tensor | None = None,
        controls: tuple[ControlBatch, ...] = (),
        redux: Redux | None = None,
        redux_image: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        if redux_image is not None and redux is None:
            raise Bundle3DError(
                "Expected Redux models for redux_image, but the socket redux is empty; connect Load Bundle Redux."
            )
        check_batch(initial_image, batch_size, "initial images")
        check_batch(redux_image, batch_size, "Redux images")
        for pictures in controls:
            check_batch(pictures, batch_size, "control images")
        height, width = bundle_size(width, height, models.vae.module.config.sample_size, models.pixels_per_token)
        request = BundleRequest(
            prompt=prompt,
            height=height,
            width=width,
            steps=steps,
            guidance=guidance,
            seed=seed,
            strength=strength,
            redux_strength=redux_strength,
            lora_scale=lora_scale,
        )

        def draw(index: int, setting: None, progress: Progress) -> torch.Tensor:
            start, shown = (
                None if images is None else images[index % len(images), ..., :3]
                for images in (initial_image, redux_image)
            )
            own = replace(
                request,
                seed=seed_of(seed, index),
                initial_image=start,
                controls=tuple(pictures[index % len(pictures)] for pictures in controls),
                redux_image=shown,
            )
            return draw_bundle(replace(models, redux=redux), own, progress)

        bundles = map_batch(range(batch_size), draw, [None], "choose a smaller size or weights in fp8")
        return io.NodeOutput(as_output(torch.stack(bundles)))


NODES = [Bundle3D_GenerateBundle]
