"""All judged objects in one picture: what was given and made of each, with its name and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 136  # pixels of all pictures
GAP = 8
LINE = 15
FONT_SIZE = 12
INK, RIGHT, WRONG = (32, 34, 38), (24, 128, 56), (197, 34, 31)
CAMERA = Camera(35.0, 20.0, 4.5, fov=30.0)


@dataclass(frozen=True)
class Judged:
    """An object by ``name`` with ``pictures`` (H, W, 3) of it and ``verdicts``: what was found, and whether that is
    right."""

    name: str
    pictures: Sequence[torch.Tensor]
    verdicts: Sequence[tuple[str, bool]]


def seen_from(mesh: Mesh | None, camera: Camera = CAMERA, mode: str = "unlit") -> torch.Tensor:
    """A square picture of the mesh for a sheet, white where there is none."""
    if mesh is None:
        return torch.ones(HEIGHT, HEIGHT, 3)
    return render_mesh(mesh, Rig((camera,)), HEIGHT, HEIGHT, mode)[0][0]


def judged_sheet(judged: Sequence[Judged], columns: int = 5) -> torch.Tensor:
    """Picture (H, W, 3) sRGB of all of them, row by row; what is wrong is named in red."""
    cells = [[_fitted(picture) for picture in one.pictures] for one in judged]
    wide = max(sum(picture.width + GAP // 2 for picture in cell) for cell in cells) + GAP // 2
    high = HEIGHT + 2 * LINE + GAP
    rows = -(-len(judged) // columns)
    sheet = Image.new("RGB", (columns * (wide + GAP) + GAP, rows * (high + GAP) + GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for number, (one, cell) in enumerate(zip(judged, cells)):
        left, top = GAP + number % columns * (wide + GAP), GAP + number // columns * (high + GAP)
        place = left
        for picture in cell:
            sheet.paste(picture, (place, top))
            place += picture.width + GAP // 2
        draw.rectangle((left - 2, top - 2, left + wide - 2, top + high - 4), outline=(210, 212, 216))
        draw.text((left + 2, top + HEIGHT + 1), f"{number}: {one.name}", INK, font)
        along = float(left + 2)
        for text, right in one.verdicts:
            draw.text((along, top + HEIGHT + LINE), text, RIGHT if right else WRONG, font)
            along += draw.textlength(text + "   ", font)
    return torch.from_numpy(np.asarray(sheet).copy()).float() / 255.0


def _fitted(image: torch.Tensor) -> Image.Image:
    height, width = image.shape[:2]
    picture = Image.fromarray((image.clamp(0.0, 1.0) * 255.0).round().byte().cpu().numpy())
    return picture.resize((round(width * HEIGHT / height), HEIGHT), Image.Resampling.BICUBIC)
