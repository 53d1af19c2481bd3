"""Load Reconstruction Model: the network that turns a few views into a mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.checkpoints.demo_folder import DEMO_RECONSTRUCTION_MODEL
from ..pipelines.errors import Bundle3DError
from ..pipelines.lrm.held_model import held
from ..pipelines.lrm.load import load_lrm
from . import model_files
from .fingerprints import states_of
from .memory import hold_reconstruction
from .model_files import DEMO, RECONSTRUCTION_MODELS
from .sockets import ReconstructionModels

AS_STORED = "as stored"
DEMO_DOMAIN = (
    "Made with the demo model, which knows simple procedural shapes only; other objects need PRM or InstantMesh."
)
PRECISIONS = {AS_STORED: None, "fp32": torch.float32, "bf16": torch.bfloat16}


class Bundle3D_LoadReconstructionModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadReconstructionModel",
            display_name="Load Reconstruction Model",
            category="Bundle3D/reconstruction",
            description="Loads PRM or InstantMesh, which make a mesh from a few views in one pass.",
            search_aliases=[
                "lrm loader",
                "large reconstruction model",
                "prm",
                "instantmesh",
                "kiss3dgen",
                "views to mesh",
            ],
            inputs=[
                io.Combo.Input(
                    "reconstruction_model",
                    options=[DEMO, *model_files.files(RECONSTRUCTION_MODELS)],
                    default=DEMO,
                    tooltip="A file from models/bundle3d: PRM's prm_final_ckpt.ckpt, a large InstantMesh "
                    "checkpoint, or one trained with this pack. The small demo model comes with Bundle3D.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default=AS_STORED,
                    tooltip="How the weights of the networks are kept in memory. bf16 halves what fp32 files need. The "
                    "surface itself is always read off in fp32.",
                    advanced=True,
                ),
            ],
            outputs=[
                ReconstructionModels.Output("model", display_name="model", tooltip="The model, for Reconstruct Views.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, reconstruction_model: str | None, precision: str | None) -> list[Any]:
        return [states_of(_find, reconstruction_model), precision]

    @classmethod
    def execute(cls, reconstruction_model: str, precision: str) -> io.NodeOutput:
        model = load_lrm(_find(reconstruction_model), PRECISIONS[precision])
        return io.NodeOutput(held(model, hold_reconstruction, DEMO_DOMAIN if reconstruction_model == DEMO else ""))


def _find(name: str) -> Path:
    if name != DEMO:
        return model_files.find(RECONSTRUCTION_MODELS, name)
    if not DEMO_RECONSTRUCTION_MODEL.is_file():
        raise Bundle3DError(
            f"Expected the demo reconstruction model in {DEMO_RECONSTRUCTION_MODEL.parent}, but its weights are not "
            "there; make them with 'bundle3d train lrm-demo', or choose PRM's prm_final_ckpt.ckpt."
        )
    return DEMO_RECONSTRUCTION_MODEL


NODES = [Bundle3D_LoadReconstructionModel]
