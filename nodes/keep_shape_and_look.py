"""Keep Shape and Look: how much of a mesh a redrawing keeps, as two sliders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy_api.latest import io

from ..pipelines.diffusion.control import Control
from ..pipelines.diffusion.keep import KEEP_PRESETS, Hold, Kept, kept
from ..pipelines.diffusion.models import ControlNet
from ..pipelines.errors import Bundle3DError
from .sockets import ControlBatch, ControlNets, Controls

# The numbers behind the sliders, and what each is connected to where the controls are wired by hand.
NUMBERS = {
    "shape_strength": "strength of a Bundle Control that holds the shape; 0 where there is none",
    "shape_end": "end of a Bundle Control that holds the shape",
    "look_strength": "strength of a Bundle Control that holds the look; 0 where there is none",
    "look_end": "end of a Bundle Control that holds the look",
}


class Bundle3D_KeepShapeAndLook(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_KeepShapeAndLook",
            display_name="Keep Shape and Look",
            category="Bundle3D/editing",
            description="Says with two sliders how much of a mesh's shape and look stays when its bundle is redrawn.",
            search_aliases=[
                "edit strength",
                "enhance mesh",
                "denoise",
                "controlnet preset",
                "mesh img2img",
                "structure strength",
            ],
            inputs=[
                io.Image.Input(
                    "bundle",
                    tooltip="The bundle images of the mesh, from Render Bundle; a batch holds each to its own.",
                ),
                ControlNets.Input(
                    "control_net",
                    optional=True,
                    tooltip="From Load Bundle ControlNet. Without it only the redrawing strength keeps anything.",
                ),
                Controls.Input("controls", optional=True, tooltip="Other controls that act, too."),
                io.Combo.Input(
                    "preset",
                    options=list(KEEP_PRESETS),
                    default=next(iter(KEEP_PRESETS)),
                    tooltip="What is held to, and the values in the middle of the sliders. enhance: normals for the "
                    "shape, the picture for the look, as in Kiss3DGen's paper. edit: edges and normals for the shape, "
                    "as in the paper. enhance, repository: the picture alone, as the published code does.",
                ),
                io.Float.Input(
                    "keep_shape",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="0 lets the shape change freely, 0.5 holds it as published, 1 as firmly as is of use.",
                ),
                io.Float.Input(
                    "keep_look",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="0 draws colours anew, 0.5 holds them as published, 1 leaves the bundle and so the mesh "
                    "exactly as it is.",
                ),
            ],
            outputs=[
                io.Float.Output("strength", display_name="strength", tooltip="The strength of Generate Bundle."),
                Controls.Output("controls", display_name="controls", tooltip="All controls, for Generate Bundle."),
                *(io.Float.Output(name, display_name=name, tooltip=f"The {use}.") for name, use in NUMBERS.items()),
                io.String.Output("note", display_name="note", tooltip="What the sliders mean, in words."),
            ],
        )

    @classmethod
    def execute(
        cls,
        bundle: torch.Tensor,
        preset: str,
        keep_shape: float,
        keep_look: float,
        control_net: ControlNet | None = None,
        controls: tuple[ControlBatch, ...] = (),
    ) -> io.NodeOutput:
        chosen = kept(preset, keep_shape, keep_look)
        held = (*chosen.shape, *chosen.look)
        modes = None if control_net is None else control_net.modes
        known = tuple(hold for hold in held if modes is None or hold.mode in modes)
        unknown = tuple(hold for hold in held if hold not in known)
        if control_net is not None and held and not known:
            raise Bundle3DError(
                f"Expected a ControlNet with a mode of {', '.join(hold.mode for hold in held)}, but it has "
                f"{', '.join(modes or ())}; choose another ControlNet or preset."
            )
        own = () if control_net is None else tuple(_control(bundle, control_net, hold) for hold in known)
        note = _note(chosen, None if control_net is None else known, unknown)
        return io.NodeOutput(
            chosen.strength,
            (*controls, *own),
            *_numbers(chosen.shape),
            *_numbers(chosen.look),
            note,
            ui={"text": [note]},
        )


def _control(bundle: torch.Tensor, net: ControlNet, hold: Hold) -> ControlBatch:
    return tuple(
        Control(picture[..., :3], net, hold.mode, hold.scale, end=hold.end, make_map=True) for picture in bundle
    )


def _numbers(holds: Sequence[Hold]) -> tuple[float, float]:
    return (holds[0].scale, holds[0].end) if holds else (0.0, 1.0)


def _note(chosen: Kept, known: Sequence[Hold] | None, unknown: Sequence[Hold]) -> str:
    """What is held to and how, for people."""
    lines = [f"Redraws with a strength of {chosen.strength:g}."]
    if chosen.strength == 0.0:
        lines = ["Nothing is redrawn: the mesh stays as it is."]
    for what, holds in (("shape", chosen.shape), ("look", chosen.look)):
        acting = [hold for hold in holds if known is not None and hold in known]
        modes = " and ".join(hold.mode for hold in acting)
        if acting:
            lines.append(
                f"Holds the {what} by {modes} at {acting[0].scale:g} up to {acting[0].end:.0%} of the drawing."
            )
        else:
            lines.append(f"No ControlNet holds the {what}.")
    lines += [f"The ControlNet has no mode {hold.mode}, so that is left out." for hold in unknown]
    return "\n".join(lines)


NODES = [Bundle3D_KeepShapeAndLook]
