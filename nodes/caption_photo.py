"""Caption Photo: what photos show, in Florence-2's words or the user's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.photo.caption import caption_photo, load_captioner
from ..pipelines.progress import Progress
from . import model_files
from .batch import map_batch
from .fingerprints import states_of
from .memory import hold_whole_network
from .model_files import LANGUAGE_MODELS, NONE


class Bundle3D_CaptionPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_CaptionPhoto",
            display_name="Caption Photo",
            category="Bundle3D/photos",
            description="Describes what a photo shows, for the prompt of the bundle.",
            search_aliases=["florence-2", "describe image", "image to text", "interrogate", "captioning", "vqa"],
            inputs=[
                io.Image.Input("image", tooltip="Photos, best after Prepare Photo, so that nothing else is described."),
                io.Combo.Input(
                    "captioner",
                    options=[NONE, *model_files.captioners()],
                    default=NONE,
                    tooltip="Florence-2 in transformers' own format: a folder in models/LLM, such as "
                    "Florence-2-large. none: the text is the caption.",
                ),
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    tooltip="The caption where no captioner is chosen.",
                ),
            ],
            outputs=[
                io.String.Output(
                    "caption",
                    display_name="caption",
                    tooltip="The text, or what the captioner says of each photo, for Bundle Prompt or Generate Bundle.",
                    is_output_list=True,
                )
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, captioner: str | None, **others: Any) -> list[Any]:
        return states_of(partial(model_files.find, LANGUAGE_MODELS), None if captioner == NONE else captioner)

    @classmethod
    def execute(cls, image: torch.Tensor, captioner: str, text: str) -> io.NodeOutput:
        if captioner == NONE:
            if not text.strip():
                raise Bundle3DError(
                    "Expected a captioner or a text, but neither is there; put Florence-2-large into models/LLM, or "
                    "write what the photo shows."
                )
            captions = [text.strip()]  # as often as there are photos, each would run the rest of the graph anew
        else:
            model, processor = load_captioner(model_files.find(LANGUAGE_MODELS, captioner))
            held = hold_whole_network(model)

            def describe(photo: torch.Tensor, setting: None, progress: Progress) -> str:
                return caption_photo(held, processor, photo[..., :3], progress)

            captions = map_batch(image.unbind(0), describe, [None], "choose Florence-2-base")
        return io.NodeOutput(captions, ui={"text": captions})


NODES = [Bundle3D_CaptionPhoto]
