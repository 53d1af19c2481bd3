"""Load Pixal3D-D: the variant of Pixal3D that its paper reports, which makes shapes of one picture."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.direct3d_s2.image_encoder import load_image_encoder
from ..pipelines.pixal3d.direct3d_s2.load import held, load_scale_flow, load_stage
from ..pipelines.pixal3d.direct3d_s2.settings import STAGES, read_sight
from ..pipelines.pixal3d.load_pictures import load_feature_upsampler
from . import model_files
from .fingerprints import states_of
from .load_pixal3d import AS_STORED, ENCODERS, PRECISIONS, UPSAMPLERS
from .memory import Holder, hold_network, hold_reconstruction, hold_vae, hold_whole_network
from .model_files import BUNDLE3D, NONE
from .pixal3d_sockets import Pixal3DDModelSet


class Bundle3D_LoadPixal3DD(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        upsamplers = model_files.models_of(UPSAMPLERS)
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
                    options=[NONE, *upsamplers],
                    default=next((name for name in upsamplers if "naf" in name.lower()), NONE),
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
    def fingerprint_inputs(
        cls, folder: str | None, image_encoder: str | None, upsampler: str | None, precision: str | None
    ) -> list[Any]:
        return [
            states_of(partial(model_files.find, BUNDLE3D), folder),
            states_of(partial(model_files.find_of, ENCODERS), image_encoder),
            states_of(_upsampler, upsampler),
            precision,
        ]

    @classmethod
    def execute(cls, folder: str, image_encoder: str, upsampler: str, precision: str) -> io.NodeOutput:
        path, dtype = model_files.find(BUNDLE3D, folder), PRECISIONS[precision]
        stages = [stage for stage, name in STAGES.items() if stage != "fine" or (path / name).is_dir()]
        # What is small comes first, so that a wrong file is refused before the flows are read.
        naf = _load_upsampler(path, stages, upsampler)
        encoder = hold_network(load_image_encoder(model_files.find_of(ENCODERS, image_encoder)))
        models = held(
            {stage: load_stage(path, stage, dtype) for stage in stages},
            encoder,
            partial(hold_reconstruction, dtype=dtype),
            hold_vae,
            naf,
            load_scale_flow(path, dtype),
        )
        return io.NodeOutput(models)


def _load_upsampler(folder: Path, stages: Collection[str], name: str) -> Holder | None:
    """NAF, where one of ``stages`` wants it; raises Bundle3DError where none is chosen then."""
    if not any(read_sight(folder / STAGES[stage]).upsampled for stage in stages):
        return None
    file = _upsampler(name)
    if file is None:
        raise Bundle3DError(
            f"Expected NAF, which a stage of '{folder.name}' wants, but none is chosen; choose naf_release.pth in "
            "models/bundle3d."
        )
    return hold_whole_network(load_feature_upsampler(file))


def _upsampler(name: str) -> Path | None:
    return None if name == NONE else model_files.find_of(UPSAMPLERS, name)


NODES = [Bundle3D_LoadPixal3DD]
