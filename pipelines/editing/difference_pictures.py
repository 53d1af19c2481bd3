"""Two states of a mesh beside each other on a turntable, and heat maps of what is different between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn.functional import avg_pool2d

from ..meshes.mesh import Mesh
from ..progress import Progress, Stage, silent
from ..rendering.interpolate import interpolate
from ..rendering.rasterise import rasterise
from ..rendering.turntable import framing_orbit, turntable
from ..views.rig import Rig
from .changes import LEAST

SUPERSAMPLE = 2
CAPTION, FONT_SIZE = 24, 14  # pixels
INK, PAPER = (32, 34, 38), (255, 255, 255)
WARM, HOT = (1.0, 0.75, 0.0), (0.85, 0.0, 0.1)  # at half and at full heat
STRENGTH = 0.9  # of the colour, from a quarter of the full heat on
LUMA = (0.2126, 0.7152, 0.0722)
FULL_COLOR = 0.25  # difference of colours at full heat
LEAST_DISTANCE = 0.005  # of the longest side, at full heat, so that rounding does not glow
OLD, NEW, HEATED, DONE = 35, 70, 80, 100  # steps of the progress


@dataclass(frozen=True)
class DifferencePictures:
    """``frames`` (F, H, W, 3) sRGB: before beside after. ``heat`` (F, H, W, 3): the change of colours beside the
    distance, on the shape in grey. ``colors_changed``: share of the pixels that show either mesh and that
    changed visibly, and ``mean_change`` the mean difference of these, in sRGB from 0 to 1."""

    frames: torch.Tensor
    heat: torch.Tensor
    colors_changed: float
    mean_change: float


@torch.no_grad()
def difference_pictures(
    before: Mesh,
    after: Mesh,
    surface: Mesh,
    distance: torch.Tensor,
    unit: str,
    frames: int = 8,
    size: int = 384,
    mode: str = "unlit",
    elevation: float = 15.0,
    progress: Progress = silent,
) -> DifferencePictures:
    """Pictures of ``before`` and ``after``, which lie in one frame, in a ``mode`` of ``turntable``.

    ``surface`` is that of ``after`` in the same frame, and ``distance`` (N,) how far its vertices are from ``before``,
    in ``unit``.
    """
    both = Mesh(torch.cat((before.vertices, after.vertices)), before.faces)
    orbit = framing_orbit(both, frames, elevation)
    old, new = (
        turntable(mesh, size=size, mode=mode, progress=Stage(progress, start, stop, DONE), orbit=orbit)
        for mesh, start, stop in ((before, 0, OLD), (after, OLD, NEW))
    )
    shape = turntable(after, size=size, mode="clay", progress=Stage(progress, NEW, HEATED, DONE), orbit=orbit)
    apart, shown = _drawn(surface, distance, orbit, size, Stage(progress, HEATED, DONE, DONE))
    change = (new - old).abs().amax(-1)
    low, high = both.bounds
    least = LEAST_DISTANCE * float((high - low).max()) * _scale(surface)
    full = max(float(distance.max()), least)
    visible = change > LEAST
    seen = (shown > 0.5) | (visible & (shown == 0.0))  # what is gone was there before
    changed = visible & seen
    return DifferencePictures(
        _captioned((("before", old), ("after", new))),
        _captioned(
            (
                (f"colour change, red from {FULL_COLOR:g}", heated(shape, change / FULL_COLOR)),
                (f"distance, red at {full:.3g} {unit}", heated(shape, apart / full)),
            )
        ),
        float(changed.sum() / seen.sum().clamp(min=1)),
        float(change[changed].mean()) if bool(changed.any()) else 0.0,
    )


def heated(pictures: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """``pictures`` (F, H, W, 3) in grey, coloured from yellow to red by ``heat`` (F, H, W), 1 being full."""
    grey = (pictures * pictures.new_tensor(LUMA)).sum(-1, keepdim=True)
    value = heat.clamp(0.0, 1.0)[..., None]
    color = torch.lerp(grey.new_tensor(WARM), grey.new_tensor(HOT), (2.0 * value - 1.0).clamp(min=0.0))
    return torch.lerp(grey.expand_as(color), color, STRENGTH * (4.0 * value).clamp(max=1.0))


def _drawn(
    mesh: Mesh, values: torch.Tensor, orbit: Rig, size: int, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """``values`` (N,) of the vertices and coverage as pictures (F, size, size)."""
    drawn, shown = [], []
    for done, camera in enumerate(orbit, 1):
        clip = Rig((camera,)).clip(mesh.vertices)
        fragments = rasterise(clip, mesh.faces, size * SUPERSAMPLE, size * SUPERSAMPLE)
        pixels = interpolate(values[:, None].to(mesh.vertices), clip, mesh.faces, fragments)[..., 0]
        drawn.append(avg_pool2d(pixels, SUPERSAMPLE)[0])
        shown.append(avg_pool2d(fragments.mask.float(), SUPERSAMPLE)[0])
        progress(done, len(orbit))
    return torch.stack(drawn), torch.stack(shown)


def _scale(mesh: Mesh) -> float:
    """The length in the world of one unit of the mesh's frame."""
    return float(torch.linalg.det(mesh.transform[:3, :3]).abs() ** (1.0 / 3.0))


def _captioned(columns: Sequence[tuple[str, torch.Tensor]]) -> torch.Tensor:
    """Pictures (F, S, S, 3) beside each other, each above its caption."""
    pictures = torch.cat([images for _, images in columns], dim=2).cpu()
    width = pictures.shape[2]
    strip = Image.new("RGB", (width, CAPTION), PAPER)
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(FONT_SIZE)
    for number, (text, _) in enumerate(columns):
        middle = (2 * number + 1) * width / (2 * len(columns))
        draw.text((middle, CAPTION / 2), text, INK, font, anchor="mm")
    caption = torch.from_numpy(np.asarray(strip).copy()).float() / 255.0
    return torch.cat((pictures, caption.expand(len(pictures), -1, -1, -1)), dim=1)
