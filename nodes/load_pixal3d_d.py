"""Load Pixal3D-D: the variant of Pixal3D that its paper reports, which makes shapes of one picture."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..pipelines.checkpoints.file_states import file_states
from ..pipelines.pixal3d.direct3d_s2.image_encoder import load_image_encoder
from ..pipelines.pixal3d.direct3d_s2.load import held, load_scale_flow, load_stage
from ..pipelines.pixal3d.direct3d_s2.settings import STAGES
from ..pipelines.pixal3d.load_pictures import load_feature_upsampler
from . import model_files
from .load_pixal3d import AS_STORED, ENCODERS, PRECISIONS, UPSAMPLERS
from .memory import hold_network, hold_reconstruction, hold_vae, hold_whole_network
from .model_files import BUNDLE3D, NONE
from .pixal3d_sockets import Pixal3DDModelSet


class Bundle3D_LoadPixal3DD(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadPixal3DD",
            display_name="Load Pixal3D-D",
            category="Bundle3D/pixal3d",
            description="Loads the variant of Pixal3D that its paper reports, which makes shapes without textures.",
            search_aliases=["pixal3d-d", "pixal3d paper", "direct3d-s2", "direct3d s2", "sdf", "dinov2", "image to 3d"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=model_files.pixal3d_d_folders(),
                    tooltip="The published folder in models/bundle3d, with dense, sparse512 and sparse1024 in it. "
                    "Without sparse1024 there are coarse shapes alone.",
                ),
                io.Combo.Input(
                    "image_encoder",
                    options=model_files.models_of(ENCODERS),
                    tooltip="DINOv2 ViT-L/14 with registers, which sees the picture: the folder or file of "
                    "facebook/dinov2-with-registers-large, or its authors' dinov2_vitl14_reg4_pretrain.pth, in "
                    "models/clip_vision or models/bundle3d. The published folder has none.",
                ),
                io.Combo.Input(
                    "upsampler",
                    options=[NONE, *model_files.models_of(UPSAMPLERS)],
                    default=NONE,
                    tooltip="NAF, which makes the features of pictures finer, where the folder says that a stage wants "
                    "it: naf_release.pth from models/bundle3d.",
                ),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default=AS_STORED,
                    tooltip="What the flows compute in. As stored is the file's own type, or bf16 for fp16. bf16 needs "
                    "half the memory of fp32; a device that is slow with it computes in fp32.",
                    advanced=True,
                ),
            ],
            outputs=[
                Pixal3DDModelSet.Output(
                    "models", display_name="models", tooltip="The models, for Pixal3D-D Image to 3D."
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, image_encoder: str, upsampler: str, precision: str) -> list[Any]:
        return [*(file_states(path) for path in _paths(folder, image_encoder, upsampler) if path), precision]

    @classmethod
    def execute(cls, folder: str, image_encoder: str, upsampler: str, precision: str) -> io.NodeOutput:
        path, encoder, naf = _paths(folder, image_encoder, upsampler)
        assert path is not None and encoder is not None
        dtype = PRECISIONS[precision]
        there = [stage for stage, name in STAGES.items() if stage != "fine" or (path / name).is_dir()]
        models = held(
            {stage: load_stage(path, stage, dtype) for stage in there},
            hold_network(load_image_encoder(encoder)),
            partial(hold_reconstruction, dtype=dtype),
            hold_vae,
            None if naf is None else hold_whole_network(load_feature_upsampler(naf)),
            load_scale_flow(path, dtype),
        )
        return io.NodeOutput(models)


def _paths(folder: str, image_encoder: str, upsampler: str) -> list[Path | None]:
    """The folder, the image encoder and NAF, where there is one; raises Bundle3DError where they are not there."""
    return [
        model_files.find(BUNDLE3D, folder),
        model_files.find_of(ENCODERS, image_encoder),
        None if upsampler == NONE else model_files.find_of(UPSAMPLERS, upsampler),
    ]


NODES = [Bundle3D_LoadPixal3DD]
