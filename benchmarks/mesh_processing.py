"""Speed, memory and quality of mesh processing over face counts, on a bumpy figure and on a gyroid.

    python benchmarks/mesh_processing.py [--quick]

Each row is one step on one mesh. Repair gets the mesh as a triangle soup with a twentieth of its faces turned over and
every thousandth missing; simplification halves it; unwrapping is compared with xatlas packing the same charts, where
xatlas is installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import measure
import numpy as np
import torch
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.padding import pad_texture
from bundle3d.pipelines.meshes.repair import repair
from bundle3d.pipelines.meshes.simplify import simplify
from bundle3d.pipelines.meshes.tangents import vertex_tangents
from bundle3d.pipelines.meshes.topology import is_manifold, is_watertight, unique_edges
from bundle3d.pipelines.meshes.weld import weld, welded_faces
from bundle3d.pipelines.metrics.report import mesh_report
from bundle3d.pipelines.texturing.charts import Charts, box_charts
from bundle3d.pipelines.texturing.packing import pack
from bundle3d.pipelines.texturing.texel_map import rasterise_uv, uv_overlap
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.volumes.surface_nets import surface_nets

RESOLUTION = 2048
PADDING = 4


def figure(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Positive inside a smooth union of five balls with bumps."""
    total = torch.zeros_like(x)
    for cx, cy, cz, radius in (
        (0, 0, 0, 0.45),
        (0.45, 0.3, 0, 0.28),
        (-0.45, 0.3, 0.1, 0.28),
        (0, 0.6, 0, 0.3),
        (0.1, -0.55, 0, 0.35),
    ):
        distance = ((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2).sqrt() - radius
        total = total + torch.exp(-12 * distance)
    return torch.log(total.clamp(min=1e-12)) / 12 + 0.012 * torch.sin(24 * x) * torch.sin(24 * y) * torch.sin(24 * z)


def gyroid(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """Positive inside a thick gyroid sheet cut by a ball."""
    a, b, c = 7 * x, 7 * y, 7 * z
    sheet = 0.5 - (torch.sin(a) * torch.cos(b) + torch.sin(b) * torch.cos(c) + torch.sin(c) * torch.cos(a)).abs()
    return torch.minimum(sheet / 7, 0.9 - (x * x + y * y + z * z).sqrt())


SHAPES = {"figure": figure, "gyroid": gyroid}


def shape(name: str, faces: int) -> Mesh:
    """A closed mesh of about the wanted number of faces."""

    def sampled(size: int) -> Mesh:
        line = torch.linspace(-1, 1, size)
        x, y, z = torch.meshgrid(line, line, line, indexing="ij")
        return surface_nets(SHAPES[name](x, y, z).contiguous(), (-1.0, -1.0, -1.0), 2 / (size - 1))

    probe = sampled(64)
    return sampled(max(16, round(64 * (faces / probe.faces.shape[0]) ** 0.5)))


def damaged(mesh: Mesh) -> Mesh:
    """Soup with flipped and missing faces."""
    generator = torch.Generator().manual_seed(0)
    count = mesh.faces.shape[0]
    faces = mesh.faces[torch.arange(count) % 1000 != 500]
    turned = torch.rand((faces.shape[0], 1), generator=generator) < 0.05
    faces = torch.where(turned, faces.flip(1), faces)
    return Mesh(vertices=mesh.vertices[faces.reshape(-1)], faces=torch.arange(faces.numel()).reshape(-1, 3))


def xatlas_pack(charts: Charts) -> Callable[[], Any] | None:
    """Packing of the same charts by xatlas, or None where it is missing."""
    try:
        import xatlas
    except ImportError:
        return None

    def run() -> Any:
        atlas = xatlas.Atlas()
        atlas.add_uv_mesh(charts.points.astype(np.float32), charts.faces.astype(np.uint32))
        options = xatlas.PackOptions()
        options.resolution, options.padding = RESOLUTION, PADDING
        atlas.generate(pack_options=options)
        return atlas

    return run


def rows_for(name: str, faces: int, runs: int) -> list[dict[str, Any]]:
    mesh = shape(name, faces)
    broken = damaged(mesh)
    welded = welded_faces(mesh)
    charts = box_charts(mesh.vertices, mesh.faces, welded, RESOLUTION)
    flat = unwrap(mesh, RESOLUTION, PADDING)[0]
    texels = rasterise_uv(flat, RESOLUTION)
    texture = torch.zeros((RESOLUTION, RESOLUTION, 3), dtype=torch.uint8)
    steps: dict[str, Callable[[], Any]] = {
        "unique_edges": lambda: unique_edges(mesh.faces),
        "weld": lambda: weld(broken, 1e-6),
        "repair": lambda: repair(broken),
        "simplify to half": lambda: simplify(mesh, mesh.faces.shape[0] // 2),
        "charts": lambda: box_charts(mesh.vertices, mesh.faces, welded, RESOLUTION),
        "pack": lambda: pack(charts, RESOLUTION, PADDING),
        "unwrap": lambda: unwrap(mesh, RESOLUTION, PADDING),
        "rasterise_uv": lambda: rasterise_uv(flat, RESOLUTION),
        "pad_texture": lambda: pad_texture(texture, texels.mask),
        "vertex_tangents": lambda: vertex_tangents(flat),
        "report": lambda: mesh_report(flat),
    }
    other = xatlas_pack(charts)
    if other is not None:
        steps["pack by xatlas"] = other
    rows = []
    for step, function in steps.items():
        taken = []
        for _ in range(runs):
            with measure.track_peak() as memory:
                wall, processor = time.perf_counter(), time.process_time()
                result = function()
                taken.append((time.perf_counter() - wall, time.process_time() - processor))
        row: dict[str, Any] = {"shape": name, "faces": mesh.faces.shape[0], "step": step}
        for position, label in enumerate(("wall_ms", "cpu_ms")):
            row[label] = round(statistics.median(times[position] for times in taken) * 1e3, 1)
        row["memory_growth_mb"] = round(memory["growth"] / 2**20, 1)
        if step == "repair":
            row["watertight"] = is_watertight(result.faces)
            row["manifold"] = is_manifold(result.faces)
        if step == "simplify to half":
            row.update(result_faces=result.faces.shape[0], watertight=is_watertight(result.faces))
        if step == "unwrap":
            cover = uv_overlap(result[0].uv, result[0].faces, RESOLUTION)
            row.update(charts=charts.count, used=round(cover.covered / RESOLUTION**2, 3), overlap=cover.share)
        if step == "pack by xatlas":
            row["used"] = round(float(np.mean(result.utilization)), 3)
            row["size"] = [result.width, result.height]
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only the figure at 100k faces")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    options = parser.parse_args()
    cases = [("figure", 100_000)]
    if not options.quick:
        cases += [("gyroid", 100_000), ("figure", 10_000), ("figure", 500_000), ("gyroid", 500_000)]
    rows_for("figure", 2_000, 1)  # compiles
    start, rows = time.perf_counter(), []
    for name, faces in cases:
        rows += rows_for(name, faces, options.runs)
        path = measure.write("mesh_processing", rows, seconds=round(time.perf_counter() - start))
    print(path)


if __name__ == "__main__":
    main()
