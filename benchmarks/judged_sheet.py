"""All judged objects in one picture: bundle, a turned view of the reconstruction, prompt and verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 5
BUNDLE = (272, 136)  # width and height in pixels
VIEW = 136
GAP = 8
LINE = 15
FONT_SIZE = 12
INK, RIGHT, WRONG = (32, 34, 38), (24, 128, 56), (197, 34, 31)
CAMERA = Camera(35.0, 20.0, 4.5, fov=30.0)


@dataclass(frozen=True)
class Judged:
    """A ``bundle`` (H, W, 3) of ``prompt``, its reconstruction, if there is one, and ``verdicts``: what was found, and
    whether that is right."""

    prompt: str
    bundle: torch.Tensor
    mesh: Mesh | None
    verdicts: list[tuple[str, bool]]


def judged_sheet(judged: list[Judged]) -> torch.Tensor:
    """Picture (H, W, 3) sRGB of all of them, row by row; what is wrong is named in red."""
    wide, high = BUNDLE[0] + VIEW + GAP, BUNDLE[1] + 2 * LINE + GAP
    rows = -(-len(judged) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (wide + GAP) + GAP, rows * (high + GAP) + GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for number, one in enumerate(judged):
        left, top = GAP + number % COLUMNS * (wide + GAP), GAP + number // COLUMNS * (high + GAP)
        sheet.paste(_picture(one.bundle).resize(BUNDLE, Image.Resampling.BICUBIC), (left, top))
        if one.mesh is not None:
            view, _ = render_mesh(one.mesh, Rig((CAMERA,)), VIEW, VIEW, "unlit")
            sheet.paste(_picture(view[0]), (left + BUNDLE[0] + GAP // 2, top))
        draw.rectangle((left - 2, top - 2, left + wide - 2, top + high - 4), outline=(210, 212, 216))
        draw.text((left + 2, top + BUNDLE[1] + 1), f"{number}: {one.prompt}", INK, font)
        place = float(left + 2)
        for text, right in one.verdicts:
            draw.text((place, top + BUNDLE[1] + LINE), text, RIGHT if right else WRONG, font)
            place += draw.textlength(text + "   ", font)
    return torch.from_numpy(np.asarray(sheet).copy()).float() / 255.0


def _picture(image: torch.Tensor) -> Image.Image:
    return Image.fromarray((image.clamp(0.0, 1.0) * 255.0).round().byte().cpu().numpy())
