"""Load Bundle ControlNet: a network that holds a drawing to a picture."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..pipelines.checkpoints.file_states import file_states
from ..pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from ..pipelines.diffusion.models import ControlNet
from ..pipelines.errors import Bundle3DError
from . import model_files
from .memory import hold_network
from .sockets import ControlNets


class Bundle3D_LoadControlNet(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadControlNet",
            display_name="Load Bundle ControlNet",
            category="Bundle3D/generation",
            description="Loads a FLUX ControlNet for Bundle Control.",
            search_aliases=["controlnet loader", "flux controlnet union", "tile controlnet"],
            inputs=[
                io.Combo.Input(
                    "control_net",
                    options=model_files.models("controlnet"),
                    tooltip="A FLUX ControlNet from models/controlnet: a file, or a diffusers folder. The reference "
                    "takes "
                    "InstantX' FLUX.1-dev-Controlnet-Union.",
                ),
            ],
            outputs=[
                ControlNets.Output(
                    "control_net", display_name="control_net", tooltip="The network, for Bundle Control."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, control_net: str) -> Any:
        return file_states(model_files.find("controlnet", control_net))

    @classmethod
    def execute(cls, control_net: str) -> io.NodeOutput:
        if not control_net:
            raise Bundle3DError(
                "Expected a ControlNet, but none is chosen; put one into ComfyUI's folder models/controlnet."
            )
        path = model_files.find("controlnet", control_net)
        network = load_controlnet(path)
        return io.NodeOutput(ControlNet(hold_network(network), controlnet_modes(path, network)))


NODES = [Bundle3D_LoadControlNet]
