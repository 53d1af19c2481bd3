"""Paint Region: a mask that is painted by hand on a picture, such as a bundle image, in the browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io

from ..pipelines.editing.painted_mask import painted_mask
from ..pipelines.errors import Bundle3DError
from ..pipelines.kernels import one_torch_thread
from ..pipelines.views.bundle import find_layout
from .compute import as_output
from .viewer_data import save_picture

MOST_PIXELS = 1 << 26  # browsers take canvases of about this size


class Bundle3D_PaintRegion(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="Bundle3D_PaintRegion",
            display_name="Paint Region",
            category="Bundle3D/editing",
            description="Lets you paint on a bundle image, or on any picture, and gives what is painted as a mask.",
            search_aliases=["paint mask", "draw mask", "mask editor", "brush", "inpaint", "canvas", "region"],
            is_output_node=True,
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="The picture to paint on; it is on the node after a run. The pictures of a batch lie next "
                    "to each other.",
                ),
                io.String.Input(
                    "mask_file",
                    default="",
                    tooltip="What is painted: a PNG in ComfyUI's input folder that the node writes, white where "
                    "painted, as large as all pictures together. Empty: nothing is painted.",
                ),
            ],
            outputs=[
                io.Mask.Output(
                    "mask",
                    display_name="mask",
                    tooltip="1 where painted, 0 elsewhere, one mask per picture. All 0 while nothing is painted.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, mask_file: str | None) -> bool | str:
        if not mask_file:  # nothing painted, or linked and known only when the node runs
            return True
        if not folder_paths.exists_annotated_filepath(mask_file):
            return (
                f"Expected a painted mask in ComfyUI's input folder, but {mask_file!r} is not there; press Clear on "
                "the node and paint again."
            )
        return True

    @classmethod
    def fingerprint_inputs(cls, mask_file: str | None = None, **_: Any) -> list[int]:
        if not mask_file:
            return []
        status = Path(folder_paths.get_annotated_filepath(mask_file)).stat()
        return [status.st_mtime_ns, status.st_size]

    @classmethod
    @one_torch_thread()
    def execute(cls, image: torch.Tensor, mask_file: str) -> io.NodeOutput:
        valid = cls.validate_inputs(mask_file)
        if isinstance(valid, str):
            raise Bundle3DError(valid)
        if image[..., 0].numel() > MOST_PIXELS:
            raise Bundle3DError(
                f"Expected pictures of at most {MOST_PIXELS:,} pixels together, but got {image[..., 0].numel():,}; "
                "make them smaller, or give fewer."
            )
        count, height, width = image.shape[:3]
        columns = _columns(count, height, width)
        sheet = _lay_out(image[..., :3].cpu(), columns)
        size = (sheet.shape[0], sheet.shape[1])
        if mask_file:
            painted = painted_mask(Path(folder_paths.get_annotated_filepath(mask_file)), size)
        else:
            painted = torch.zeros(size)
        mask = _cut(painted, height, width)[:count]
        share = float(mask.mean())
        note = f"{share:.1%} of the picture is painted." if share else "Nothing is painted: the mask is empty."
        layout = find_layout(image[0, ..., :3])
        tiles = (layout.columns, layout.rows) if layout else (1, 1)
        picture = {
            "picture": save_picture(sheet.clamp(0, 1).mul(255).round().to(torch.uint8), "picture"),
            "size": [size[1], size[0]],
            "grid": [tiles[0] * columns, tiles[1] * (size[0] // height)],
        }
        return io.NodeOutput(as_output(mask), ui={"bundle3d_picture": [picture], "text": [note]})


def _columns(count: int, height: int, width: int) -> int:
    """In how many columns pictures lie so that together they are about as wide as high."""
    return max(1, min(count, round(math.sqrt(count * height / width))))


def _lay_out(images: torch.Tensor, columns: int) -> torch.Tensor:
    """Pictures (B, H, W, C) row by row on one sheet (rows x H, columns x W, C), whose free places are 0."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    cells = images.new_zeros(rows * columns, height, width, channels)
    cells[:count] = images
    grid = cells.reshape(rows, columns, height, width, channels).transpose(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _cut(sheet: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """All places (rows x columns, H, W) of a sheet (rows x H, columns x W), row by row."""
    rows, columns = sheet.shape[0] // height, sheet.shape[1] // width
    return sheet.reshape(rows, height, columns, width).transpose(1, 2).reshape(-1, height, width)


NODES = [Bundle3D_PaintRegion]
