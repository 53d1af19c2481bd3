"""What editing meshes of many faces takes: seconds and peak memory of each step.

    python benchmarks/edit_scaling.py [--faces 100000 2000000] [--tile 512] [--texture 4096]

A torus of that many triangles with texture coordinates and a texture of its own is rendered, its views are recoloured,
and the change is brought into the texture, everywhere and within a region; before and after are compared. Each row
runs in a process of its own, so that peaks are those of the step. Prints a table and writes it, with the machine's
description, to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from bundle3d.benchmarks import measure
from bundle3d.pipelines.editing.difference_pictures import difference_pictures
from bundle3d.pipelines.editing.edit_mesh import edit_mesh
from bundle3d.pipelines.editing.mesh_difference import mesh_difference, surface_distance
from bundle3d.pipelines.editing.region import Region, SurfacePoints
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet

RIG = named_rig("kiss3dgen")
BLUE = torch.tensor((0.1, 0.25, 0.85))
STEPS = ("render", "edit", "edit_region", "compare")


def torus(faces: int, texture: int) -> Mesh:
    """A torus within -1 to 1 of about so many triangles, with a red texture."""
    around = round(math.sqrt(faces))
    along = faces // (2 * around)
    a, b = torch.meshgrid(torch.linspace(0, 1, around + 1), torch.linspace(0, 1, along + 1), indexing="ij")
    turn, bend = (2.0 * math.pi * (share % 1.0) for share in (a, b))  # 1 is 0, to the bit
    radius = 0.7 + 0.28 * bend.cos()
    vertices = torch.stack((radius * turn.cos(), radius * turn.sin(), 0.28 * bend.sin()), dim=-1).reshape(-1, 3)
    row, column = torch.meshgrid(torch.arange(around), torch.arange(along), indexing="ij")
    first = (row * (along + 1) + column).reshape(-1)
    below, right, across = first + along + 1, first + 1, first + along + 2
    corners = torch.cat((torch.stack((first, below, right), 1), torch.stack((right, below, across), 1)))
    image = torch.full((texture, texture, 3), 40, dtype=torch.uint8)
    image[..., 0] = 200
    paint = Material("paint", base_color_texture=image, repeat=False)
    uv = torch.stack((a, b), dim=-1).reshape(-1, 2)
    return Mesh(vertices, corners, uv=uv, materials=(paint,), name=f"torus of {faces:,}")


def recolored(views: ViewSet) -> ViewSet:
    """The same views of a blue object."""
    mask = views.mask[..., None]
    return replace(views, rgb=BLUE * mask + 1.0 - mask)


def right_half(points: SurfacePoints) -> torch.Tensor:
    return points.position[:, 0] > 0.0


def measured(faces: int, step: str, tile: int, texture: int) -> dict[str, Any]:
    """The row of one step, in this process."""
    mesh = torus(faces, texture)
    views = render_views(mesh, RIG, tile, "unlit")
    work: dict[str, Callable[[], Any]] = {
        "render": lambda: render_views(mesh, RIG, tile, "unlit"),
        "edit": lambda: edit_mesh(mesh, views, recolored(views)),
        "edit_region": lambda: edit_mesh(mesh, views, recolored(views), region=Region(mesh, [right_half])),
        "compare": lambda: compared(mesh, mesh.with_(vertices=mesh.vertices * 1.01)),
    }
    wall, processor = time.perf_counter(), time.process_time()
    with measure.track_peak() as memory:
        made = work[step]()
    return {
        "faces": len(mesh.faces),
        "step": step,
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(time.process_time() - processor, 2),
        "peak_mb": memory["peak"] >> 20,
        "growth_mb": memory["growth"] >> 20,
        "said": made.to_text().splitlines()[1].strip() if step.startswith("edit") else "",
    }


def compared(before: Mesh, after: Mesh) -> Any:
    apart = surface_distance(before, after)
    difference_pictures(before, after, apart.surface, apart.distance, "meter", 4, 384)
    return mesh_difference(before, after, apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[100_000, 2_000_000])
    parser.add_argument("--tile", type=int, default=512, help="pixels of a view")
    parser.add_argument("--texture", type=int, default=4096, help="texels a side")
    given = parser.parse_args()
    rows = []
    for faces in given.faces:
        for step in STEPS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                rows.append(pool.apply(measured, (faces, step, given.tile, given.texture)))
            print(json.dumps(rows[-1]), flush=True)
    print(measure.write("edit_scaling", rows, tile=given.tile, texture=given.texture))


if __name__ == "__main__":
    main()
