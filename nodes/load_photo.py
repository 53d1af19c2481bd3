"""Load Photo: from an image file in ComfyUI's input folder to its pixels and the object's mask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.photo.read_photo import LONGEST, read_photo
from .compute import as_output, within_memory
from .fingerprints import states_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".tga", ".avif", ".heic")


def image_files() -> list[str]:
    """Names of the image files in the input folder."""
    with os.scandir(folder_paths.get_input_directory()) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES) and entry.is_file())


class Bundle3D_LoadPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_LoadPhoto",
            display_name="Load Photo",
            category="Bundle3D/photos",
            description="Reads an image file upright and in sRGB, with the object's mask where the file has alpha.",
            search_aliases=["load image", "open image", "import photo", "upload image", "picture", "image to 3d"],
            inputs=[
                io.Combo.Input(
                    "image",
                    options=image_files(),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="A PNG, JPEG, WebP, GIF, TIFF or BMP file in ComfyUI's input folder. A name with [output] "
                    "or [temp] after it is read from that folder.",
                ),
                io.Int.Input(
                    "longest_side",
                    default=LONGEST,
                    min=64,
                    max=8192,
                    step=64,
                    tooltip="Larger photos are reduced to this many pixels on their longer side.",
                ),
            ],
            outputs=[
                io.Image.Output("image", display_name="image", tooltip="The photo, upright and in sRGB."),
                io.Mask.Output(
                    "mask",
                    display_name="mask",
                    tooltip="The file's alpha: 1 on the object; 1 everywhere where the file has none. Load Image has "
                    "it the other way round.",
                ),
                io.String.Output("notes", display_name="notes", tooltip="What was done to the file's pixels."),
            ],
        )

    @classmethod
    def validate_inputs(cls, image: str | None) -> bool | str:
        if image is None:  # linked: known only when the node runs
            return True
        if not image:
            return "Expected an image file, but none is chosen; upload one or put it into the input folder."
        if not folder_paths.exists_annotated_filepath(image):
            return f"Expected a file in ComfyUI's input folder, but {image!r} is not there; upload it."
        return True

    @classmethod
    def fingerprint_inputs(cls, image: str | None, longest_side: int | None) -> list[Any]:
        return [states_of(_located, image), longest_side]

    @classmethod
    @one_torch_thread()
    def execute(cls, image: str, longest_side: int) -> io.NodeOutput:
        valid = cls.validate_inputs(image)
        if isinstance(valid, str):
            raise Bundle3DError(valid)
        path = _located(image)
        photo = within_memory(lambda setting: read_photo(path, longest_side), [None], "save the photo smaller")
        alpha = torch.ones(photo.rgb.shape[:2]) if photo.alpha is None else photo.alpha
        notes = "\n".join(photo.notes)
        return io.NodeOutput(as_output(photo.rgb[None]), as_output(alpha[None]), notes, ui={"text": [notes]})


def _located(image: str) -> Path:
    return Path(folder_paths.get_annotated_filepath(image))


NODES = [Bundle3D_LoadPhoto]
