"""Load Pixal3D: everything that makes an object of pictures by back-projection."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.checkpoints.demo_folder import DEMO_PIXAL3D_FOLDER
from ..pipelines.checkpoints.file_states import file_states
from ..pipelines.errors import Bundle3DError
from ..pipelines.pixal3d.load import (
    NEEDED,
    Decoders,
    Flows,
    held,
    load_decoders,
    load_flow_files,
    load_flows,
    load_texture_decoder,
    refuse_quantised,
)
from ..pipelines.pixal3d.load_pictures import holds_upsampler, load_feature_upsampler, load_image_encoder
from ..pipelines.pixal3d.models import PictureModels
from ..pipelines.pixal3d.settings import FLOWS, SINGLE
from . import model_files
from .memory import hold_network, hold_reconstruction, hold_voxel_decoder, hold_whole_network
from .model_files import BUNDLE3D, DEMO, NONE
from .pixal3d_sockets import Pixal3DModelSet

FROM_BASE = "from base"
FROM_ENCODER = "from image encoder"
AS_STORED = "as stored"
PRECISIONS = {AS_STORED: None, "bf16": torch.bfloat16, "fp32": torch.float32}
PICTURE_FILE = "dinov3_naf.safetensors"  # in a folder that has all
# The widget of each stage's own file, and what it is.
FLOW_INPUTS = {
    "structure": ("structure_flow", "coarse structure"),
    "shape": ("shape_flow", "coarse shape"),
    "fine_shape": ("fine_shape_flow", "fine shape"),
    "texture": ("texture_flow", "texture"),
}
ENCODERS, UPSAMPLERS = ("clip_vision", BUNDLE3D), (BUNDLE3D, "clip_vision")


class Bundle3D_LoadPixal3D(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadPixal3D",
            display_name="Load Pixal3D",
            category="Bundle3D/pixal3d",
            description="Loads Pixal3D, which makes textured objects of one or several pictures by back-projection.",
            search_aliases=[
                "pixal3d",
                "trellis.2",
                "trellis2",
                "back-projection",
                "image to 3d",
                "multi view to 3d",
                "dinov3",
                "naf",
            ],
            inputs=[
                io.Combo.Input(
                    "base",
                    options=[*model_files.pixal3d_folders(), *model_files.files("diffusion_models"), NONE],
                    default=DEMO,
                    tooltip="What everything below comes from unless it is chosen there: the small demo family that "
                    "comes with Bundle3D, the published folder in models/bundle3d, or ComfyUI's file of all flows, "
                    "pixal3d_bf16.safetensors, in models/diffusion_models.",
                ),
                io.Boolean.Input(
                    "several_views",
                    default=False,
                    tooltip="Take the flows that were trained for several views, from pipeline_mv.json of a folder; of "
                    "a file, say that it holds them. Those for one view are better where there is only one.",
                ),
                io.Combo.Input(
                    "decoders",
                    options=[FROM_BASE, *model_files.files("vae")],
                    default=FROM_BASE,
                    tooltip="The decoders of structure and shape: ComfyUI's trellis_2_shape_vae_bf16.safetensors from "
                    "models/vae, or what the base folder has.",
                ),
                io.Combo.Input(
                    "texture_decoder",
                    options=[FROM_BASE, *model_files.files("vae")],
                    default=FROM_BASE,
                    tooltip="The decoder of textures: ComfyUI's trellis_2_texture_vae_bf16.safetensors from "
                    "models/vae, or what the base folder has. Without one there are shapes alone.",
                ),
                io.Combo.Input(
                    "image_encoder",
                    options=[FROM_BASE, *model_files.models_of(ENCODERS)],
                    default=FROM_BASE,
                    tooltip="DINOv3 ViT-L/16, which sees the pictures: ComfyUI's dino_v3_L_naf_fp32.safetensors from "
                    "models/clip_vision, or a folder or file of transformers or timm. The published folder has none.",
                ),
                io.Combo.Input(
                    "upsampler",
                    options=[FROM_ENCODER, *model_files.models_of(UPSAMPLERS)],
                    default=FROM_ENCODER,
                    tooltip="NAF, which makes the features of pictures finer: naf_release.pth from models/bundle3d, or "
                    "what the file of the image encoder has.",
                ),
                *(_flow_input(id, what) for id, what in FLOW_INPUTS.values()),
                io.Combo.Input(
                    "precision",
                    options=list(PRECISIONS),
                    default=AS_STORED,
                    tooltip="What the flows compute in. As stored is what the JSON file beside a flow states, bf16 for "
                    "the published ones, and otherwise the file's own type, or bf16 for fp16. bf16 needs half the "
                    "memory of fp32; a device that is slow with it computes in fp32.",
                    advanced=True,
                ),
            ],
            outputs=[
                Pixal3DModelSet.Output("models", display_name="models", tooltip="The models, for the nodes of Pixal3D.")
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **chosen: Any) -> list[Any]:
        files = _Files.chosen(**chosen)
        return [*(file_states(path) for path in files.all()), chosen["several_views"], chosen["precision"]]

    @classmethod
    def execute(cls, **chosen: Any) -> io.NodeOutput:
        files = _Files.chosen(**chosen)
        for file in files.flow_files():
            refuse_quantised(file)  # which no other choice of files would mend
        pictures, decoders = files.load_pictures(), files.load_decoders()
        # A texture that nothing decodes need not be drawn.
        stages = [stage for stage in FLOWS if stage != "texture" or decoders.texture is not None]
        flows = files.load_flows(stages, PRECISIONS[chosen["precision"]], chosen["several_views"])
        demo = chosen["base"] == DEMO
        return io.NodeOutput(held(flows, decoders, pictures, hold_reconstruction, hold_voxel_decoder, demo))


def _flow_input(id: str, what: str) -> Any:
    return io.Combo.Input(
        id,
        options=[FROM_BASE, *model_files.files("diffusion_models")],
        default=FROM_BASE,
        tooltip=f"The flow that draws the {what}: a file of its own from models/diffusion_models, or what the base "
        "has.",
        advanced=True,
    )


@dataclass(frozen=True)
class _Files:
    """The files and folders that are chosen, None where the base or the image encoder has the part."""

    base: Path | None
    flows: dict[str, Path]
    decoders: Path | None
    texture_decoder: Path | None
    image_encoder: Path | None
    upsampler: Path | None

    @classmethod
    def chosen(cls, base: str | None, **names: Any) -> _Files:
        """Those that are known: a name is None where its widget is linked and nothing has run yet.

        Raises Bundle3DError where one of them is not there.
        """

        def part(id: str, *kinds: str) -> Path | None:
            return None if names[id] in (None, FROM_BASE, FROM_ENCODER) else model_files.find_of(kinds, names[id])

        flows = {stage: part(id, "diffusion_models") for stage, (id, _) in FLOW_INPUTS.items()}
        return cls(
            base=_base(base),
            flows={stage: file for stage, file in flows.items() if file is not None},
            decoders=part("decoders", "vae"),
            texture_decoder=part("texture_decoder", "vae"),
            image_encoder=part("image_encoder", *ENCODERS),
            upsampler=part("upsampler", *UPSAMPLERS),
        )

    def all(self) -> list[Path]:
        own = (self.base, *self.flows.values(), self.decoders, self.texture_decoder, self.image_encoder, self.upsampler)
        return [path for path in own if path is not None]

    def flow_files(self) -> list[Path]:
        whole = [] if self.base is None or self.base.is_dir() else [self.base]
        return [*whole, *self.flows.values()]

    @property
    def folder(self) -> Path | None:
        return self.base if self.base is not None and self.base.is_dir() else None

    def load_decoders(self) -> Decoders:
        source = self.decoders or self.folder
        if source is None:
            raise Bundle3DError(
                "Expected decoders of structure and shape, but the base has none; choose "
                "trellis_2_shape_vae_bf16.safetensors, or the folder of Pixal3D as the base."
            )
        loaded = load_decoders(source, self.texture_decoder)
        if loaded.texture is None and self.folder is not None:
            return replace(loaded, texture=load_texture_decoder(self.folder))
        return loaded

    def load_flows(self, stages: Collection[str], dtype: torch.dtype | None, multiview: bool) -> Flows:
        """Those of ``stages``, each from its own file or else from the base."""
        own = {stage: file for stage, file in self.flows.items() if stage in stages}
        if self.base is None:
            if missing := [FLOW_INPUTS[stage][0] for stage in NEEDED if stage not in own]:
                raise Bundle3DError(
                    f"Expected a base or a file for {missing[0]}, but neither is chosen; choose one of "
                    "models/diffusion_models, or a base."
                )
            return load_flow_files(own, dtype, multiview)
        flows = load_flows(self.base, dtype, multiview, [stage for stage in stages if stage not in own])
        others = load_flow_files(own, dtype, multiview)
        return replace(flows, flows={**flows.flows, **others.flows}, dtypes={**flows.dtypes, **others.dtypes})

    def load_pictures(self) -> PictureModels:
        beside = None if self.folder is None else self.folder / PICTURE_FILE
        encoder = self.image_encoder or (beside if beside is not None and beside.is_file() else None)
        if encoder is None:
            raise Bundle3DError(
                "Expected an image encoder, but the base has none; choose DINOv3 ViT-L/16, such as "
                "dino_v3_L_naf_fp32.safetensors in models/clip_vision."
            )
        upsampler = self.upsampler or (encoder if holds_upsampler(encoder) else None)
        if upsampler is None:
            raise Bundle3DError(
                f"Expected NAF, but '{encoder.name}' has none; choose naf_release.pth in models/bundle3d, or the file "
                "of DINOv3 that has both."
            )
        return PictureModels(
            hold_network(load_image_encoder(encoder)), hold_whole_network(load_feature_upsampler(upsampler))
        )


def _base(name: str | None) -> Path | None:
    if name is None or name == NONE:
        return None
    if name != DEMO:
        return model_files.find(BUNDLE3D if name in model_files.pixal3d_folders() else "diffusion_models", name)
    if not (DEMO_PIXAL3D_FOLDER / SINGLE).is_file():
        raise Bundle3DError(
            f"Expected the demo Pixal3D family in {DEMO_PIXAL3D_FOLDER}, but its weights are not there; make them with "
            "'bundle3d train pixal3d-demo', or choose the published folder or ComfyUI's file."
        )
    return DEMO_PIXAL3D_FOLDER


NODES = [Bundle3D_LoadPixal3D]
