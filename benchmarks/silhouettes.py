"""How truthful the antialiased coverage and its gradient are, against supersampling.

    python benchmarks/silhouettes.py

Rows: the covered area, and its derivative when the mesh grows, as ratios of the antialiased figure to the supersampled
one; for triangles from many pixels down to a fraction of a pixel.
"""

from __future__ import annotations

from typing import Any

import measure
import torch
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.render import render_attributes
from rasteriser import knot, rig

STEP = 5e-3
CASES = [(500, 96, 16), (5_000, 256, 8), (50_000, 512, 4), (50_000, 256, 8)]


def row(faces: int, size: int, fine: int, projection: str) -> dict[str, Any]:
    vertices, triangles = knot(faces)
    cameras = rig(4, projection)

    def area(scale: float) -> float:
        clip = cameras.clip(vertices * scale)
        counts = [rasterise(view[None], triangles, size * fine, size * fine).mask.sum() for view in clip]
        return float(sum(counts)) / fine**2

    scale = torch.ones((), requires_grad=True)
    image = render_attributes(vertices[:, :1], cameras.clip(vertices * scale), triangles, size, size)[..., -1].sum()
    image.backward()
    truth, slope = area(1.0), (area(1 + STEP) - area(1 - STEP)) / (2 * STEP)
    assert scale.grad is not None
    return {
        "faces": len(triangles),
        "size": size,
        "projection": projection,
        "area_ratio": round(float(image.detach()) / truth, 4),
        "slope_ratio": round(float(scale.grad) / slope, 4),
    }


def main() -> None:
    rows = [row(*case, projection) for case in CASES for projection in ("orthographic", "perspective")]
    for found in rows:
        print(found)
    print(measure.write("silhouettes", rows))


if __name__ == "__main__":
    main()
