"""Load Multi-view Models: what draws the views around an object that a picture shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..pipelines.checkpoints.demo_folder import MULTIVIEW_DEMO_FOLDER
from ..pipelines.errors import Bundle3DError
from ..pipelines.multiview.loading import load_multiview
from . import model_files
from .fingerprints import states_of
from .memory import hold_network, hold_text_encoder, hold_vae
from .model_files import DEMO
from .sockets import ViewModels

FROM_BASE = "from base"


class Bundle3D_LoadMultiviewModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadMultiviewModels",
            display_name="Load Multi-view Models",
            category="Bundle3D/multi-view",
            description="Loads Zero123++ or FlexGen, which draw the views around an object from one picture of it.",
            search_aliases=[
                "zero123plus",
                "zero123++",
                "flexgen",
                "instantmesh",
                "multi view diffusion",
                "novel view",
                "image to 3d",
            ],
            inputs=[
                io.Combo.Input(
                    "base",
                    options=model_files.multiview_pipelines(),
                    default=DEMO,
                    tooltip="A Zero123++ folder from models/diffusers, or the small demo model that comes with "
                    "Bundle3D.",
                ),
                io.Combo.Input(
                    "unet",
                    options=[FROM_BASE, *model_files.models("diffusion_models")],
                    default=FROM_BASE,
                    tooltip="Another UNet for the folder's parts, from models/diffusion_models: Kiss3DGen's "
                    "flexgen.ckpt for four views, or InstantMesh's for six.",
                ),
            ],
            outputs=[ViewModels.Output("models", display_name="models", tooltip="The models, for Generate Views.")],
        )

    @classmethod
    def fingerprint_inputs(cls, base: str | None, unet: str | None) -> list[Any]:
        return [states_of(_base, base), states_of(_unet, unet)]

    @classmethod
    def execute(cls, base: str, unet: str) -> io.NodeOutput:
        parts = load_multiview(_base(base), _unet(unet))
        return io.NodeOutput(parts.held(hold_network, hold_vae, hold_text_encoder))


def _base(name: str) -> Path:
    if name != DEMO:
        return model_files.find("diffusers", name)
    if not (MULTIVIEW_DEMO_FOLDER / model_files.PIPELINE).is_file():
        raise Bundle3DError(
            f"Expected the demo multi-view model in {MULTIVIEW_DEMO_FOLDER}, but its weights are not there; make them "
            "with 'bundle3d train multiview-demo', or choose a Zero123++ folder."
        )
    return MULTIVIEW_DEMO_FOLDER


def _unet(name: str) -> Path | None:
    return None if name == FROM_BASE else model_files.find("diffusion_models", name)


NODES = [Bundle3D_LoadMultiviewModels]
