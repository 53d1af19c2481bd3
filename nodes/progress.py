"""The progress of a pipeline on ComfyUI's bar, with pictures and prompt cancellation."""

from __future__ import annotations

import time

import comfy.model_management
import comfy.utils
import torch
from comfy.cli_args import LatentPreviewMethod, args
from PIL import Image

from ..pipelines.progress import Preview, Progress, Stage

PREVIEW_INTERVAL = 0.5  # seconds between two pictures, at least
PREVIEW_SHARE = 0.05  # of the computing time that pictures may take
PREVIEW_SIZE = 512  # pixels on the longer side
STEPS_PER_ITEM = 1000


class NodeProgress:
    """A Progress that moves the bar of the node that is running and raises where the user has cancelled."""

    def __init__(self) -> None:
        self._bar: comfy.utils.ProgressBar | None = None
        self._next_preview = 0.0

    def __call__(self, done: int, total: int, preview: Preview | None = None) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        self._bar.update_absolute(done, total, self._picture(preview))

    def _picture(self, preview: Preview | None) -> tuple[str, Image.Image, int] | None:
        start = time.monotonic()
        if preview is None or start < self._next_preview:
            return None
        pixels = preview().detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
        end = time.monotonic()
        self._next_preview = end + max(PREVIEW_INTERVAL, (end - start) / PREVIEW_SHARE)
        return "JPEG", Image.fromarray(pixels.numpy()), PREVIEW_SIZE


def item_progress(progress: Progress, index: int, count: int) -> Progress:
    """The share of item ``index`` in the progress over a batch of ``count``."""
    if count == 1:
        return progress
    return Stage(progress, index * STEPS_PER_ITEM, (index + 1) * STEPS_PER_ITEM, count * STEPS_PER_ITEM)


def sampler_previews(progress: Progress) -> Progress:
    """``progress``, with pictures only where ComfyUI's setting Live preview method shows them of its own samplers."""

    def without(done: int, total: int, preview: Preview | None = None) -> None:
        progress(done, total)

    return without if args.preview_method is LatentPreviewMethod.NoPreviews else progress
