"""Load Bundle ControlNet: a network that holds a drawing to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..pipelines.checkpoints.demo_folder import CONTROLNET_DEMO_FOLDER
from ..pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from ..pipelines.diffusion.models import ControlNet
from ..pipelines.errors import Bundle3DError
from . import model_files
from .fingerprints import states_of
from .memory import hold_network
from .model_files import DEMO
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
                    options=[DEMO, *model_files.models("controlnet")],
                    default=DEMO,
                    tooltip="A FLUX ControlNet from models/controlnet: a file, or a diffusers folder. The reference "
                    "takes InstantX' FLUX.1-dev-Controlnet-Union. The small demo ControlNet that comes with Bundle3D "
                    "is for the demo models.",
                ),
            ],
            outputs=[
                ControlNets.Output(
                    "control_net", display_name="control_net", tooltip="The network, for Bundle Control."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, control_net: str | None) -> list[Any]:
        return states_of(_find, control_net)

    @classmethod
    def execute(cls, control_net: str) -> io.NodeOutput:
        path = _find(control_net)
        network = load_controlnet(path)
        return io.NodeOutput(ControlNet(hold_network(network), controlnet_modes(path, network)))


def _find(name: str) -> Path:
    if name != DEMO:
        return model_files.find("controlnet", name)
    if not (CONTROLNET_DEMO_FOLDER / model_files.SINGLE_MODEL).is_file():
        raise Bundle3DError(
            f"Expected the demo ControlNet in {CONTROLNET_DEMO_FOLDER}, but its weights are not there; make it with "
            "'bundle3d train controlnet-demo', or choose FLUX.1-dev-Controlnet-Union."
        )
    return CONTROLNET_DEMO_FOLDER


NODES = [Bundle3D_LoadControlNet]
