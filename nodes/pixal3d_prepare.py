"""Pixal3D Prepare: the object of a photo cut out and cropped as Pixal3D was trained to see it."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui

from ..pipelines.kernels import one_torch_thread
from ..pipelines.pixal3d.conditioning import resized
from ..pipelines.progress import Progress
from .batch import map_batch, paired
from .compute import as_output
from .cutting import cutting_inputs
from .pixal3d_pictures import cut_and_crop


class Bundle3D_Pixal3DPrepare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_Pixal3DPrepare",
            display_name="Pixal3D Prepare",
            category="Bundle3D/pixal3d",
            description="Cuts the object out of a photo and crops it to a square on black, as Pixal3D wants it.",
            search_aliases=["pixal3d preprocess", "remove background", "crop to mask", "image to 3d", "trellis2"],
            inputs=cutting_inputs(),
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="image",
                    tooltip="The object in its square on black, 1.1 times as large as its longer side.",
                ),
                io.Mask.Output("mask", display_name="mask", tooltip="Where it is there: 1 inside, 0 outside."),
                io.String.Output("notes", display_name="notes", tooltip="How it was cut out, and what to look at."),
            ],
        )

    @classmethod
    @one_torch_thread()
    def execute(
        cls, image: torch.Tensor, cut_by: str, invert_mask: bool, mask: torch.Tensor | None = None
    ) -> io.NodeOutput:
        masks = None if mask is None else (1.0 - mask if invert_mask else mask).unbind(0)

        def prepare(
            pair: tuple[torch.Tensor, torch.Tensor | None], setting: None, progress: Progress
        ) -> tuple[torch.Tensor, torch.Tensor, str]:
            found = cut_and_crop(*pair, cut_by)
            progress(1, 1)
            return found

        pairs = paired(image.unbind(0), masks, "images and masks")
        results = map_batch(pairs, prepare, [None], "choose a smaller photo")
        size = max(len(square) for square, _, _ in results)
        images = as_output(torch.stack([_enlarged(square, size) for square, _, _ in results]))
        squares = [_enlarged(own[..., None].expand(-1, -1, 3), size)[..., 0] for _, own, _ in results]
        notes = [text for _, _, text in results]
        text = notes[0] if len(notes) == 1 else "\n\n".join(f"Photo {i}\n{note}" for i, note in enumerate(notes, 1))
        shown: dict[str, Any] = {**ui.PreviewImage(images, cls=cls).as_dict(), "text": [text]}
        return io.NodeOutput(images, as_output(torch.stack(squares)), text, ui=shown)


def _enlarged(square: torch.Tensor, size: int) -> torch.Tensor:
    """A square picture (S, S, 3) of ``size``: those of a batch are as large as the largest."""
    return square if len(square) == size else resized(square[None], size)[0].permute(1, 2, 0)


NODES = [Bundle3D_Pixal3DPrepare]
