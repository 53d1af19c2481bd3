"""Load Bundle Redux: what turns a picture into words that FLUX reads."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io

from ..pipelines.diffusion.loading.redux import load_redux
from ..pipelines.diffusion.models import Redux
from . import model_files
from .fingerprints import states_of
from .memory import hold_network
from .sockets import ReduxModels


class Bundle3D_LoadRedux(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadRedux",
            display_name="Load Bundle Redux",
            category="Bundle3D/generation",
            description="Loads FLUX Redux and its image encoder, so that a picture can say what to draw.",
            search_aliases=["redux", "style model loader", "siglip", "clip vision loader", "image prompt"],
            inputs=[
                io.Combo.Input(
                    "style_model",
                    options=model_files.models("style_models"),
                    tooltip="The Redux embedder from models/style_models, such as flux1-redux-dev.safetensors.",
                ),
                io.Combo.Input(
                    "clip_vision",
                    options=model_files.models("clip_vision"),
                    tooltip="SigLIP from models/clip_vision, such as sigclip_vision_patch14_384.safetensors.",
                ),
            ],
            outputs=[ReduxModels.Output("redux", display_name="redux", tooltip="The models, for Generate Bundle.")],
        )

    @classmethod
    def fingerprint_inputs(cls, style_model: str | None, clip_vision: str | None) -> list[Any]:
        chosen = {"style_models": style_model, "clip_vision": clip_vision}
        return [states_of(partial(model_files.find, kind), name) for kind, name in chosen.items()]

    @classmethod
    def execute(cls, style_model: str, clip_vision: str) -> io.NodeOutput:
        parts = load_redux(model_files.find("style_models", style_model), model_files.find("clip_vision", clip_vision))
        return io.NodeOutput(
            Redux(embedder=hold_network(parts.embedder), image_encoder=hold_network(parts.image_encoder))
        )


NODES = [Bundle3D_LoadRedux]
