"""Bundle Schedule: the noise levels of the reference for ComfyUI's samplers."""

from __future__ import annotations

from comfy_api.latest import io

from ..pipelines.diffusion.schedule import check_redrawing, evaluations, first_step, twice_shifted_sigmas


class Bundle3D_BundleSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BundleSchedule",
            display_name="Bundle Schedule",
            category="Bundle3D/generation",
            description="The noise levels that bundle LoRAs expect, for Sampler Custom Advanced with the sampler heun.",
            search_aliases=["sigmas", "scheduler", "flow matching heun", "kiss3dgen schedule", "basic scheduler"],
            inputs=[
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=1000,
                    tooltip="Steps from noise to picture. Heun evaluates the model twice a step, and once in the last.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1: from pure noise, for an empty latent. Below 1: how much of an initial picture is drawn "
                    "anew; 0.95 leaves out the first of 20 steps.",
                ),
                io.Float.Input(
                    "shift",
                    default=3.0,
                    min=0.1,
                    max=20.0,
                    step=0.1,
                    tooltip="The shift of FLUX.1-dev's scheduler, which is applied twice. The LoRAs were trained for "
                    "3.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", display_name="sigmas", tooltip="The noise levels, down to 0."),
                io.Int.Output(
                    "evaluations",
                    display_name="evaluations",
                    tooltip="How often the sampler heun will evaluate the model.",
                ),
            ],
        )

    @classmethod
    def execute(cls, steps: int, strength: float, shift: float) -> io.NodeOutput:
        sigmas = twice_shifted_sigmas(steps, shift)
        if strength < 1:
            check_redrawing(steps)
            sigmas = sigmas[first_step(steps, strength) :]
        return io.NodeOutput(sigmas, evaluations(sigmas))


NODES = [Bundle3D_BundleSchedule]
