"""Bundle Preset: the values that Kiss3DGen's paper and code draw with, as plain numbers."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.diffusion.presets import PRESETS
from ..pipelines.diffusion.presets import preset as find_preset

# The numbers of a preset, in the order of the outputs, and what each is connected to.
NUMBERS = {
    "strength": "strength of Generate Bundle",
    "steps": "steps of Generate Bundle",
    "guidance": "guidance of Generate Bundle",
    "control_strength": "strength of Bundle Control; 0 where the preset has no control",
    "control_start": "start of Bundle Control",
    "control_end": "end of Bundle Control",
    "redux_strength": "redux_strength of Generate Bundle; 0 where the preset has no Redux",
}
# Those that came later, after the note.
ISOMER_NUMBERS = {
    "isomer_distance": "distance of the cameras for a mesh of Reconstruct Views with fit_size off: orbit_distance of "
    "Split Bundle with 4 views of an orbit at 5 degrees",
    "coarse_steps": "coarse_steps of ISOMER Reconstruct",
    "refine_steps": "refine_steps of ISOMER Reconstruct",
}
WHOLE = ("steps", "coarse_steps", "refine_steps")


class Bundle3D_BundlePreset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BundlePreset",
            display_name="Bundle Preset",
            category="Bundle3D/generation",
            description="Gives the values that Kiss3DGen's paper or published code uses for a task, as plain numbers.",
            search_aliases=["kiss3dgen settings", "denoise strength", "controlnet strength", "parameters", "defaults"],
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=list(PRESETS),
                    default=next(iter(PRESETS)),
                    tooltip="The task, and whose values: those of the paper, of the repository's example scripts or of "
                    "its app.",
                )
            ],
            outputs=[
                *_outputs(NUMBERS),
                io.String.Output("note", display_name="note", tooltip="What the preset wants connected."),
                *_outputs(ISOMER_NUMBERS),
            ],
        )

    @classmethod
    def execute(cls, preset: str) -> io.NodeOutput:
        chosen = find_preset(preset)
        first, last = ([getattr(chosen, name) for name in names] for names in (NUMBERS, ISOMER_NUMBERS))
        return io.NodeOutput(*first, chosen.note, *last, ui={"text": [chosen.note]})


def _outputs(numbers: dict[str, str]) -> list[Any]:
    return [
        (io.Int if name in WHOLE else io.Float).Output(name, display_name=name, tooltip=f"The {use}.")
        for name, use in numbers.items()
    ]


NODES = [Bundle3D_BundlePreset]
