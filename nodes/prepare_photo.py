"""Prepare Photo: the object of a photo cut out and centred in a square, as multi-view models want it."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.photo.frame import BACKGROUNDS, FRAMINGS, LARGEST, OBJECTS, RATIO, Framed, frame_object
from ..pipelines.photo.preview import show_cut
from ..pipelines.progress import Progress
from .batch import map_batch, paired
from .compute import as_output
from .cutting import cut_photo, cutting_inputs


class Bundle3D_PreparePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_PreparePhoto",
            display_name="Prepare Photo",
            category="Bundle3D/photos",
            description="Cuts the object out of a photo and centres it in a square on a plain background.",
            search_aliases=[
                "remove background",
                "rembg",
                "crop to mask",
                "resize foreground",
                "matting",
                "image to 3d",
            ],
            inputs=[
                *cutting_inputs(),
                io.Boolean.Input(
                    "holes",
                    default=True,
                    tooltip="Cut out by colour: also cut enclosed pieces of the background's colour, as inside a "
                    "handle. Off: keep them, as on an object that has that colour itself.",
                ),
                io.Combo.Input(
                    "objects",
                    options=list(OBJECTS),
                    default=OBJECTS[0],
                    tooltip="automatic: the largest where several stand clearly apart. largest: the largest piece that "
                    "hangs together. all: everything in the mask.",
                ),
                io.Int.Input(
                    "size",
                    default=1024,
                    min=0,
                    max=LARGEST,
                    step=64,
                    tooltip="Side of the square in pixels; 0 keeps the photo's own resolution.",
                ),
                io.Float.Input(
                    "ratio",
                    default=RATIO,
                    min=0.1,
                    max=1.0,
                    step=0.01,
                    tooltip="How much of the square's side the object's longer side takes. Multi-view models were "
                    "trained with 0.85.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    default="white",
                    tooltip="What is around the object. Multi-view models and bundles want white.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(FRAMINGS),
                    default=FRAMINGS[0],
                    tooltip="object: the square is around the object. reference: around the whole photo, as "
                    "Kiss3DGen's code has it by mistake; to compare with it.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The object in its square."),
                io.Mask.Output("mask", display_name="mask", tooltip="Where it is there: 1 inside, 0 outside."),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="The photo with all but the object pale, and the square as an orange line.",
                ),
                io.String.Output("notes", display_name="notes", tooltip="How it was cut out, and what to look at."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls,
        image: torch.Tensor,
        cut_by: str,
        invert_mask: bool,
        holes: bool,
        objects: str,
        size: int,
        ratio: float,
        background: str,
        framing: str,
        mask: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        masks = None if mask is None else (1.0 - mask if invert_mask else mask).unbind(0)

        def prepare(
            pair: tuple[torch.Tensor, torch.Tensor | None], setting: None, progress: Progress
        ) -> tuple[Framed, torch.Tensor, str]:
            photo = pair[0].cpu().float()
            matte = cut_photo(photo, pair[1], cut_by, holes)
            progress(1, 2)
            framed = frame_object(matte.rgb, matte.alpha, size, ratio, background, objects, framing)
            progress(2, 2)
            return framed, show_cut(photo[..., :3], framed), "\n".join(matte.notes + framed.notes)

        results = map_batch(
            paired(image.unbind(0), masks, "images and masks"), prepare, [None], "choose a smaller size or photo"
        )
        squares = [framed for framed, _, _ in results]
        if len({len(framed.rgb) for framed in squares}) > 1:
            raise Bundle3DError(
                "Expected squares of one size, but the objects of this batch differ in size; set size above 0."
            )
        notes = [text for _, _, text in results]
        text = notes[0] if len(notes) == 1 else "\n\n".join(f"Photo {i}\n{note}" for i, note in enumerate(notes, 1))
        framed_images = as_output(torch.stack([framed.rgb for framed in squares]))
        previews = as_output(torch.stack([preview for _, preview, _ in results]))
        shown: dict[str, Any] = {**ui.PreviewImage(previews, cls=cls).as_dict(), "text": [text]}
        masks_out = as_output(torch.stack([framed.alpha for framed in squares]))
        return io.NodeOutput(framed_images, masks_out, previews, text, ui=shown)


NODES = [Bundle3D_PreparePhoto]
