"""A photo described in words by Florence-2. Source: specs/kiss3dgen.md 3.4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from ..diffusion.holder import Holder
from ..diffusion.memory import is_out_of_memory
from ..errors import Bundle3DError
from ..progress import Progress, silent

if TYPE_CHECKING:
    from transformers import Florence2ForConditionalGeneration, Florence2Processor

TASK = "<MORE_DETAILED_CAPTION>"
LONGEST = 1024  # new tokens
BEAMS = 3
MODEL_TYPE = "florence2"
WORKING_BYTES = 1 << 30  # about what attention over the image and the beams' caches take
PUBLISHED = "florence-community/Florence-2-large"


def is_captioner(folder: Path) -> bool:
    """Whether a folder of transformers says that it holds a Florence-2."""
    try:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("model_type") == MODEL_TYPE


def load_captioner(folder: Path) -> tuple[Florence2ForConditionalGeneration, Florence2Processor]:
    """Florence-2 from a folder in transformers' own format, in the type its weights are stored in, and its processor.

    Raises Bundle3DError for a transformers without Florence-2, for other models, for folders whose model needs code of
    their own, and where weights are missing.
    """
    try:
        from transformers import Florence2ForConditionalGeneration, Florence2Processor
    except ImportError as error:
        raise Bundle3DError(
            "Expected transformers 4.56 or newer for captions, but an older one is installed; update it."
        ) from error
    if not is_captioner(folder):
        raise _no_captioner(folder, "it holds another model")
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = Florence2Processor.from_pretrained(folder, **local)
        opened: Any = Florence2ForConditionalGeneration.from_pretrained(
            folder, dtype="auto", use_safetensors=True, output_loading_info=True, **local
        )
    except Exception as error:  # settings of other formats fail in as many ways as there are fields
        if is_out_of_memory(error):
            raise
        raise _no_captioner(folder, (str(error).strip() or type(error).__name__).splitlines()[0]) from error
    model, report = opened
    if report["missing_keys"] or report["mismatched_keys"]:
        raise _no_captioner(
            folder, f"{len(report['missing_keys']) + len(report['mismatched_keys'])} weights are missing"
        )
    return model, processor


def _no_captioner(folder: Path, reason: str) -> Bundle3DError:
    return Bundle3DError(
        f"Expected a Florence-2 in transformers' own format with safetensors weights in {folder.name}, but it could "
        f"not be opened ({reason}); use {PUBLISHED}, or write the caption yourself."
    )


def caption_photo(
    model: Holder, processor: Florence2Processor, photo: torch.Tensor, progress: Progress = silent
) -> str:
    """One paragraph on what a photo (H, W, 3) in [0, 1] shows, on one line; the same for the same photo.

    Beam search with three beams, at most 1024 tokens. Raises Bundle3DError where the model says nothing.
    """
    from transformers import StoppingCriteriaList

    pixels = (photo.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy()
    inputs = processor(text=TASK, images=Image.fromarray(pixels), return_tensors="pt").to(model.compute_device)
    longest = min(LONGEST, model.module.config.text_config.max_position_embeddings - 2)

    def watch(ids: torch.Tensor, scores: torch.Tensor, **options: Any) -> torch.Tensor:
        progress(min(ids.shape[1] - 1, longest), longest)  # the first one is there before the model speaks
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

    with model.use(WORKING_BYTES) as module:
        output = module.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"].to(model.compute_dtype),
            max_new_tokens=longest,
            num_beams=BEAMS,
            do_sample=False,
            stopping_criteria=StoppingCriteriaList([watch]),
        )
    caption = " ".join(str(processor.batch_decode(output, skip_special_tokens=True)[0]).split())
    if not caption:
        raise Bundle3DError("Expected a caption from Florence-2, but it said nothing; write the caption yourself.")
    return caption
