"""Bundle Control: a picture that a ControlNet holds the drawing to; several in a row make a list."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..pipelines.diffusion.control import Control, check_control
from ..pipelines.diffusion.control_image import MODES
from ..pipelines.diffusion.models import ControlNet
from ..pipelines.errors import Bundle3DError
from .sockets import ControlBatch, ControlNets, Controls


class Bundle3D_BundleControl(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_BundleControl",
            display_name="Bundle Control",
            category="Bundle3D/generation",
            description="Holds the drawing to a picture through a ControlNet. Chain several for several pictures or "
            "modes.",
            search_aliases=["apply controlnet", "control bundle", "tile control", "set union controlnet type"],
            inputs=[
                ControlNets.Input("control_net", tooltip="The network, from Load Bundle ControlNet."),
                io.Image.Input(
                    "image",
                    tooltip="What to hold to: a bundle image, resized to the bundle that is drawn. A batch has one for "
                    "each bundle of Generate Bundle's batch.",
                ),
                Controls.Input("controls", optional=True, tooltip="Other controls that act, too."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="tile",
                    tooltip="What the picture is to a union network: edges (canny), the picture itself (tile), "
                    "depths, a blurred picture, poses, grey values, a picture of low quality (lq), or normals, which "
                    "only networks trained with Bundle3D know.",
                ),
                io.Float.Input(
                    "strength",
                    default=Control.scale,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly to hold to it: 0.6 keeps a photo's bundle, 0.1 lets a mesh be redrawn. At 0 "
                    "the control is left out.",
                ),
                io.Float.Input(
                    "start",
                    default=Control.start,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="From which share of the model's evaluations on the control acts.",
                ),
                io.Float.Input(
                    "end",
                    default=Control.end,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Up to which share of the model's evaluations the control acts.",
                ),
                io.Float.Input(
                    "down_scale",
                    default=Control.down_scale,
                    min=1.0,
                    max=16.0,
                    step=0.5,
                    tooltip="How many times coarser the picture is made for the modes tile and lq, so that details are "
                    "drawn anew.",
                    advanced=True,
                ),
                io.Boolean.Input(
                    "make_map",
                    default=True,
                    optional=True,
                    tooltip="For the modes canny and normal. On: the image is a bundle, drawn or rendered; find its "
                    "edges, or take its row of normals. Off: the image is such a map already.",
                    advanced=True,
                ),
            ],
            outputs=[
                Controls.Output("controls", display_name="controls", tooltip="All controls, for Generate Bundle.")
            ],
        )

    @classmethod
    def execute(
        cls,
        control_net: ControlNet,
        image: torch.Tensor,
        mode: str,
        strength: float,
        start: float,
        end: float,
        down_scale: float,
        make_map: bool = True,
        controls: tuple[ControlBatch, ...] = (),
    ) -> io.NodeOutput:
        if start >= end:
            raise Bundle3DError(f"Expected a start before the end, but got {start} and {end}; lower start.")
        own = tuple(
            Control(picture[..., :3], control_net, mode, strength, start, end, down_scale, make_map)
            for picture in image
        )
        for control in own:
            check_control(control)
        return io.NodeOutput((*controls, own) if strength else controls)


NODES = [Bundle3D_BundleControl]
