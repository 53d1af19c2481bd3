"""A bundle and what was found about it as one picture: tiles, masks against the hull, figures and findings."""

from __future__ import annotations

import textwrap

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn.functional import interpolate

from ..views.hull_rays import trace_hull
from ..views.normals import encode_normals
from ..views.view_set import ViewSet
from .report import BundleReport, Finding, ViewFigures

TILE = 256
GAP = 8
LINE = 17
FONT_SIZE = 13
LABEL_HEIGHT = 22
INK, PAPER = (32, 34, 38), (255, 255, 255)
LEVEL_COLORS = {"good": (24, 128, 56), "warning": (176, 96, 0), "problem": (197, 34, 31)}
EXPLAINED, UNEXPLAINED = (0.55, 0.65, 0.62), (0.85, 0.25, 0.2)
# Everything a picture can show of the figures of one view, top to bottom.
FIGURE_LINES = 6


def contact_sheet(views: ViewSet, report: BundleReport) -> torch.Tensor:
    """Picture (H, W, 3) sRGB of ``views`` and their ``report``.

    Columns are views; rows are RGB, normals and, in the third, the silhouettes: grey where all other views allow them,
    red where they do not. Figures and findings stand below.
    """
    rows = [views.rgb, encode_normals(views.normal, views.rig) * views.mask[..., None] + 1.0 - views.mask[..., None]]
    if views.coord is not None:
        rows.append((views.coord + 1.0) / 2.0 * views.mask[..., None] + 1.0 - views.mask[..., None])
    rows.append(_hull_pictures(views))
    count = len(views.rig)
    width = count * (TILE + GAP) + GAP
    findings = [line for finding in report.findings for line in _wrapped(finding, width)]
    pairs = _pair_lines(report)
    top = LABEL_HEIGHT + GAP
    text_top = top + len(rows) * (TILE + GAP)
    height = text_top + (FIGURE_LINES + len(pairs) + len(findings) + 1) * LINE + 2 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_SIZE)
    for column, figures in enumerate(report.views):
        left = GAP + column * (TILE + GAP)
        title = f"View {column + 1}: azimuth {figures.azimuth:g}, elevation {figures.elevation:g}"
        draw.text((left, GAP), title, INK, font)
        for row, images in enumerate(rows):
            place = (left, top + row * (TILE + GAP))
            sheet.paste(_picture(images[column]), place)
            draw.rectangle((place[0] - 1, place[1] - 1, place[0] + TILE, place[1] + TILE), outline=(210, 212, 216))
        for number, line in enumerate(_figure_lines(figures)):
            draw.text((left, text_top + number * LINE), line, INK, font)
    bottom = text_top + FIGURE_LINES * LINE + GAP
    for line in pairs:
        draw.text((GAP, bottom), line, INK, font)
        bottom += LINE
    bottom += GAP
    for level, line in findings:
        draw.text((GAP, bottom), line, LEVEL_COLORS[level], font)
        bottom += LINE
    return torch.from_numpy(np.asarray(sheet).copy()).float() / 255.0


def _hull_pictures(views: ViewSet) -> torch.Tensor:
    rays = trace_hull(views, TILE // 2)
    explained, all_of_it = (mask[..., None].float() for mask in (rays.explained, rays.mask))
    colors = all_of_it.new_tensor(UNEXPLAINED) + explained * (
        all_of_it.new_tensor(EXPLAINED) - all_of_it.new_tensor(UNEXPLAINED)
    )
    return colors * all_of_it + 1.0 - all_of_it


def _picture(image: torch.Tensor) -> Image.Image:
    planes = image.permute(2, 0, 1)[None].clamp(0.0, 1.0).float().cpu()
    mode = "area" if image.shape[0] > TILE else "nearest"
    resized = interpolate(planes, size=(TILE, TILE), mode=mode)[0].permute(1, 2, 0)
    return Image.fromarray((resized * 255.0).round().byte().numpy())


def _figure_lines(figures: ViewFigures) -> list[str]:
    across, down = figures.off_centre
    rim = "cannot tell" if figures.rim_agreement is None else f"{figures.rim_agreement:.2f}"
    length = "" if figures.length_error is None else f", length off {figures.length_error:.1%}"
    return [
        f"silhouette in hull {figures.hull_iou:.1%}",
        f"covers {figures.coverage:.1%}, height {figures.height:.1%}",
        f"off centre {across:+.1%}, {down:+.1%}",
        f"touches border {figures.clipped:.1%}",
        f"normals at rim {rim}{length}",
        f"normals facing away {figures.facing_away:.2%}",
    ]


def _pair_lines(report: BundleReport) -> list[str]:
    lines = []
    for pair in report.pairs:
        parts = [f"views {pair.first + 1} and {pair.second + 1}: silhouettes agree {pair.allowed:.1%}"]
        if pair.mirror_iou is not None:
            parts.append(f"mirrored overlap {pair.mirror_iou:.1%}")
        if pair.color_difference is not None and pair.normal_angle is not None:
            parts.append(f"colours differ {pair.color_difference:.1%}, normals {pair.normal_angle:.1f} degrees")
            parts.append(f"on {pair.points} common points")
        lines.append(", ".join(parts))
    # Eight views make 28 pairs; the worst tell the story.
    order = sorted(range(len(lines)), key=lambda index: report.pairs[index].allowed)
    return [lines[index] for index in sorted(order[:8])]


def _wrapped(finding: Finding, width: int) -> list[tuple[str, str]]:
    text = f"{finding.level.capitalize()}: {finding.text}"
    return [(finding.level, line) for line in textwrap.wrap(text, int(width / (FONT_SIZE * 0.52)))]
