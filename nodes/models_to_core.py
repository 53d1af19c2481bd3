"""Bundle Models to Core: a diffusers folder for a graph of ComfyUI's own nodes."""

from __future__ import annotations

from functools import partial
from typing import Any

from comfy_api.latest import io

from ..pipelines.diffusion.loading.folder import load_folder
from . import model_files
from .fingerprints import states_of
from .load_bundle_models import DTYPES, dtype_input
from .memory import store_weights


class Bundle3D_ModelsToCore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_ModelsToCore",
            display_name="Bundle Models to Core",
            category="Bundle3D/generation",
            description="Loads a FLUX folder of any dimensions as MODEL, CLIP and VAE for ComfyUI's own nodes.",
            search_aliases=[
                "diffusers loader",
                "load diffusion model",
                "unet loader",
                "dual clip loader",
                "demo models",
            ],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=model_files.pipelines(),
                    default=model_files.DEMO,
                    tooltip="The small demo family that comes with Bundle3D, or a diffusers folder from "
                    "models/diffusers. "
                    "ComfyUI's own loaders read single files.",
                ),
                dtype_input(),
            ],
            outputs=[
                io.Model.Output(
                    "model", display_name="model", tooltip="The transformer, for Basic Guider and LoRA loaders."
                ),
                io.Clip.Output("clip", display_name="clip", tooltip="CLIP and T5 with the folder's own tokenizers."),
                io.Vae.Output("vae", display_name="vae", tooltip="The autoencoder, for VAE Decode and Bundle Latent."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str | None, **options: Any) -> list[Any]:
        return states_of(partial(model_files.find, "diffusers"), folder)

    @classmethod
    def execute(cls, folder: str, weight_dtype: str) -> io.NodeOutput:
        from .core_models import core_clip, core_model, core_vae

        parts = load_folder(model_files.find("diffusers", folder))
        store_weights(parts.transformer, DTYPES[weight_dtype])
        return io.NodeOutput(
            core_model(parts.transformer, parts.vae),
            core_clip(parts.text_encoder, parts.tokenizer, parts.text_encoder_2, parts.tokenizer_2),
            core_vae(parts.vae),
        )


NODES = [Bundle3D_ModelsToCore]
