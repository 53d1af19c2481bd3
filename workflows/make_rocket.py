"""Makes workflows/inputs/3d/bundle3d_rocket.glb, the example mesh; `python workflows/make_rocket.py`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.write import write_mesh
from PIL import Image, ImageDraw

TARGET = Path(__file__).parent / "inputs" / "3d" / "bundle3d_rocket.glb"
SEGMENTS = 72
TEXTURE = 1024
BODY_PART = 0.8  # of the texture's height; below it lie patches of one colour
PATCHES = {"red": (206, 56, 46), "dark": (58, 62, 74), "yellow": (240, 178, 41)}

Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # vertices, faces, uv


def patch_uv(name: str, count: int) -> np.ndarray:
    """The middle of a patch for all of ``count`` vertices."""
    u = (list(PATCHES).index(name) + 0.5) / len(PATCHES)
    return np.tile([u, (1.0 + BODY_PART) / 2.0], (count, 1))


def lathe(profile: list[tuple[float, float]], rings: int) -> Part:
    """A closed surface of revolution about +Y of (radius, height) points, from top to bottom; u = 0.5 faces +Z."""
    points = np.array(profile)
    along = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))))
    share = np.linspace(0.0, 1.0, rings)
    radius, height = (np.interp(share * along[-1], along, points[:, i]) for i in range(2))
    turn = np.linspace(0.0, 1.0, SEGMENTS + 1)
    angle = (turn - 0.5) * 2.0 * math.pi
    x, z = radius[:, None] * np.sin(angle), radius[:, None] * np.cos(angle)
    vertices = np.stack((x, np.broadcast_to(height[:, None], x.shape), z), axis=-1).reshape(-1, 3)
    uv = np.stack(np.broadcast_arrays(turn, share[:, None] * BODY_PART), axis=-1).reshape(-1, 2)
    row, column = (grid.reshape(-1) for grid in np.meshgrid(np.arange(rings - 1), np.arange(SEGMENTS), indexing="ij"))
    a = row * (SEGMENTS + 1) + column
    b, c, d = a + 1, a + SEGMENTS + 1, a + SEGMENTS + 2
    return vertices, np.concatenate((np.stack((a, c, b), 1), np.stack((b, c, d), 1))), uv


def fin(azimuth: float) -> Part:
    """A plate that stands out from the body at ``azimuth`` degrees."""
    outline = np.array([(0.2, -0.15), (0.2, -0.6), (0.52, -0.92), (0.6, -0.92), (0.6, -0.62), (0.42, -0.3)])
    count = len(outline)
    sides = [np.column_stack((outline, np.full(count, offset))) for offset in (0.035, -0.035)]
    local = np.concatenate(sides)  # outward, up, across
    outward = np.array((math.sin(math.radians(azimuth)), 0.0, math.cos(math.radians(azimuth))))
    across = np.cross(outward, (0.0, 1.0, 0.0))
    vertices = local[:, :1] * outward + local[:, 1:2] * (0.0, 1.0, 0.0) + local[:, 2:] * across
    caps = [(0, i, i + 1) for i in range(1, count - 1)]
    faces = caps + [(count + a, count + c, count + b) for a, b, c in caps]
    for i in range(count):
        j = (i + 1) % count
        faces += [(i, count + j, j), (i, count + i, count + j)]
    return vertices, np.array(faces), patch_uv("red", len(vertices))


def window() -> Part:
    """A yellow ring around the window in front."""
    major, minor, steps = 0.13, 0.03, 24
    a, b = (grid.reshape(-1) for grid in np.meshgrid(np.arange(SEGMENTS), np.arange(steps), indexing="ij"))
    turn, bend = a * 2 * math.pi / SEGMENTS, b * 2 * math.pi / steps
    radius = major + minor * np.cos(bend)
    vertices = np.stack((radius * np.cos(turn), radius * np.sin(turn) + 0.325, 0.285 + minor * np.sin(bend)), axis=-1)
    index = lambda i, j: (i % SEGMENTS) * steps + j % steps  # noqa: E731
    p, q, r, s = index(a, b), index(a + 1, b), index(a + 1, b + 1), index(a, b + 1)
    faces = np.concatenate((np.stack((p, q, r), 1), np.stack((p, r, s), 1)))
    return vertices, faces, patch_uv("yellow", len(vertices))


def paint() -> np.ndarray:
    """The base colour texture (H, W, 3) uint8."""
    image = Image.new("RGB", (TEXTURE, TEXTURE), (236, 232, 222))
    draw = ImageDraw.Draw(image)
    body = TEXTURE * BODY_PART

    def band(start: float, stop: float, color: tuple[int, int, int]) -> None:
        draw.rectangle((0, start * body, TEXTURE, stop * body), fill=color)

    band(0.0, 0.2, PATCHES["red"])
    band(0.2, 0.22, PATCHES["dark"])
    band(0.62, 0.66, PATCHES["red"])
    band(0.68, 0.70, PATCHES["red"])
    for column in range(24):
        start = column * TEXTURE / 24
        color = PATCHES["dark"] if column % 2 else (236, 232, 222)
        draw.rectangle((start, 0.56 * body, start + TEXTURE / 24, 0.585 * body), fill=color)
    centre, middle = TEXTURE / 2, 0.4 * body
    draw.ellipse((centre - 72, middle - 72, centre + 72, middle + 72), fill=(74, 142, 196))
    draw.ellipse((centre - 45, middle - 55, centre - 5, middle - 15), fill=(160, 205, 236))
    draw.rectangle((0, 0.42 * body, 60, 0.55 * body), fill=(70, 120, 92))
    draw.rectangle((TEXTURE - 60, 0.42 * body, TEXTURE, 0.55 * body), fill=(70, 120, 92))
    for side in (TEXTURE / 4, 3 * TEXTURE / 4):
        draw.ellipse((side - 40, middle - 40, side + 40, middle + 40), fill=PATCHES["yellow"])
    for i, color in enumerate(PATCHES.values()):
        width = TEXTURE / len(PATCHES)
        draw.rectangle((i * width, body, (i + 1) * width, TEXTURE), fill=color)
    return np.asarray(image)


def main() -> None:
    profile = [(0.0, 1.0), (0.06, 0.95), (0.13, 0.84), (0.2, 0.68), (0.26, 0.5), (0.295, 0.3), (0.3, 0.1), (0.29, -0.1)]
    body = lathe([*profile, (0.26, -0.35), (0.22, -0.55), (0.2, -0.62), (0.0, -0.62)], 64)
    nozzle = lathe([(0.0, -0.6), (0.13, -0.6), (0.19, -0.82), (0.15, -0.82), (0.1, -0.64), (0.0, -0.64)], 24)
    nozzle = nozzle[0], nozzle[1], patch_uv("dark", len(nozzle[0]))
    parts = [body, nozzle, window(), *(fin(45.0 + 90.0 * i) for i in range(4))]
    starts = np.cumsum([0] + [len(vertices) for vertices, _, _ in parts[:-1]])
    material = Material(
        "paint", roughness_factor=0.55, base_color_texture=torch.from_numpy(paint().copy()), repeat=False
    )
    mesh = Mesh(
        torch.from_numpy(np.concatenate([part[0] for part in parts])).float(),
        torch.from_numpy(np.concatenate([part[1] + start for part, start in zip(parts, starts)])).long(),
        uv=torch.from_numpy(np.concatenate([part[2] for part in parts])).float(),
        materials=(material,),
        name="rocket",
    )
    write_mesh(mesh, TARGET)


if __name__ == "__main__":
    main()
