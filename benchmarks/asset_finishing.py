"""Speed, memory and quality of finishing decoded voxels: over resolutions, over faces, and surface by surface.

    python benchmarks/asset_finishing.py [--quick]

"asset" rows finish a bumpy figure from its dual grid; "remesh" rows put the shell around given faces; "kernel" rows set
the compiled kernels against their torch twins; "surface" rows tell what each kind of surface does to the shape. Slopes
are those of a straight line through the logarithms, over voxels and over faces.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any

import measure
import numpy as np
import torch
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import edge_faces, unique_edges
from bundle3d.pipelines.meshes.triangle_tree import TriangleTree
from bundle3d.pipelines.metrics.report import mesh_report
from bundle3d.pipelines.pixal3d.finish.asset import decoded_surface, finish_asset
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.volumes.dual_grid import DualGrid, dual_grid_mesh
from bundle3d.pipelines.volumes.offset_shell import ShellOptions, offset_shell
from bundle3d.pipelines.volumes.voxel_lookup import VoxelLookup
from bundle3d.pipelines.volumes.voxelise import dual_grid_of_mesh
from mesh_processing import shape

FACES, TEXTURE = 200_000, 2048
QUERIES = 20_000
FOLDED = -0.5  # cosine between the faces of an edge below which the surface is folded over


def figure(faces: int) -> Mesh:
    """The bumpy figure in the model's cube."""
    mesh = shape("figure", faces)
    return mesh.with_(vertices=mesh.vertices * 0.49)


def decoded(resolution: int) -> tuple[DualGrid, torch.Tensor]:
    """Voxels of the figure with two faces for each, and their material."""
    mesh = figure(4 * resolution**2)
    grid = dual_grid_of_mesh(mesh.vertices, mesh.faces, resolution)
    place = (grid.coords + 0.5) / resolution
    return grid, torch.cat((place, place.flip(1)), dim=1)


def timed(function: Callable[[], Any], prefix: str, runs: int) -> dict[str, Any]:
    found: dict[str, Any] = measure.measure(function, runs, 30.0).row(prefix)
    with measure.track_peak() as peak:
        function()
    found[f"{prefix}_peak_mb"], found[f"{prefix}_growth_mb"] = peak["peak"] >> 20, peak["growth"] >> 20
    return found


def asset_row(resolution: int, runs: int) -> dict[str, Any]:
    grid, material = decoded(resolution)
    row: dict[str, Any] = {"kind": "asset", "resolution": resolution, "voxels": grid.coords.shape[0]}
    row["decoded_faces"] = decoded_surface(grid).faces.shape[0]
    row |= timed(lambda: dual_grid_mesh(grid), "dual_grid", runs)
    for surface in ("watertight", "released"):
        options = FinishOptions(surface=surface, faces=FACES, texture=TEXTURE)
        row |= timed(lambda options=options: finish_asset(grid, material, options), surface, runs)
    return row


def remesh_row(faces: int, cells: int, runs: int) -> dict[str, Any]:
    mesh = figure(faces)

    def remesh(options: ShellOptions) -> Mesh:
        return offset_shell(TriangleTree(mesh.vertices, mesh.faces), 1 / cells, options)

    released, watertight = ShellOptions(), FinishOptions().shell()
    row: dict[str, Any] = {"kind": "remesh", "faces": mesh.faces.shape[0], "cells": cells}
    row["released_faces"] = remesh(released).faces.shape[0]
    row["watertight_faces"] = remesh(watertight).faces.shape[0]
    row |= timed(lambda: remesh(released), "released", runs)
    return row | timed(lambda: remesh(watertight), "watertight", runs)


def kernel_rows(runs: int) -> list[dict[str, Any]]:
    grid, material = decoded(128)
    surface = decoded_surface(grid)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(surface.vertices.shape[0], generator=generator)[:QUERIES].sort().values
    points = surface.vertices[chosen] + surface.vertex_normals()[chosen] / 128
    backends = ("numba", "torch") if HAVE_NUMBA else ("torch",)
    trees = {name: TriangleTree(surface.vertices, surface.faces, name) for name in backends}
    lookups = {name: VoxelLookup(grid.coords, material, grid.resolution, name) for name in backends}
    candidates: dict[str, tuple[int, dict[str, Callable[[], Any]]]] = {
        "dual grid": (
            grid.coords.shape[0],
            {name: lambda name=name: dual_grid_mesh(grid, name) for name in backends},
        ),
        "nearest points": (QUERIES, {name: lambda tree=tree: tree.closest(points) for name, tree in trees.items()}),
        "values of voxels": (QUERIES, {name: lambda look=look: look.sample(points) for name, look in lookups.items()}),
    }
    rows = []
    for step, (count, functions) in candidates.items():
        row: dict[str, Any] = {"kind": "kernel", "step": step, "count": count}
        timings = measure.compare(functions, runs, 20.0)
        for name, timing in timings.items():
            row |= timing.row(name)
            row[f"{name}_ns_each"] = round(timing.median / count * 1e9)
        rows.append(row)
    return rows


def surface_rows(resolution: int) -> list[dict[str, Any]]:
    truth = figure(4 * resolution**2)
    tree = TriangleTree(truth.vertices, truth.faces)
    grid = dual_grid_of_mesh(truth.vertices, truth.faces, resolution)
    rows = []
    for surface, back in (("raw", 0.0), ("released", 0.0), *(("watertight", share) for share in (0.0, 0.8, 0.9, 1.0))):
        options = FinishOptions(surface=surface, project_back=back, faces=0, texture=0, size=1.0)
        mesh = finish_asset(grid, None, options)
        report = mesh_report(mesh)
        normal = mesh.face_normals()
        area = normal.norm(dim=1)
        normal = torch.nn.functional.normalize(normal, dim=1)
        near = tree.closest(mesh.vertices[mesh.faces].mean(1))
        own = torch.nn.functional.normalize(truth.face_normals(), dim=1).index_select(0, near.face)
        beside = edge_faces(unique_edges(mesh.faces)[1])
        folded = (normal[beside[:, 0]] * normal[beside[:, 1]]).sum(1) < FOLDED
        rows.append(
            {
                "kind": "surface",
                "surface": surface,
                "project_back": back,
                "resolution": resolution,
                "distance_in_voxels": round(float((near.distance * area).sum() / area.sum()) * resolution, 4),
                "normal_error": round(float(((1 - (normal * own).sum(1)) * area).sum() / area.sum()), 5),
                "folded_edges": round(float(folded.float().mean()), 6),
                "watertight": report.watertight,
                "manifold": report.manifold,
                "components": report.components,
                "inner_shells": report.inner_shells,
                "degenerate_faces": report.degenerate_faces,
                "volume_error": None if report.volume is None else round(report.volume / _volume(truth) - 1.0, 4),
            }
        )
    return rows


def _volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]].double() for i in range(3))
    return float((torch.linalg.cross(a, b) * c).sum() / 6.0)


def slope(rows: Sequence[dict[str, Any]], along: str, value: str) -> float | None:
    """Exponent of ``value`` over ``along`` in the rows that have both."""
    pairs = [(math.log(row[along]), math.log(row[value])) for row in rows if row[value] > 0]
    if len(pairs) < 2:
        return None
    x, y = np.array(pairs).T
    return round(float(np.polyfit(x, y, 1)[0]), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and two runs only")
    arguments = parser.parse_args()
    runs = 2 if arguments.quick else 3
    resolutions = (32, 64, 128) if arguments.quick else (64, 128, 256, 512)
    remeshes = [(20_000, 64), (20_000, 128)]
    if not arguments.quick:
        remeshes = [(10_000, 256), (100_000, 256), (1_000_000, 128), (1_000_000, 256), (1_000_000, 512)]
    rows = []
    for row in kernel_rows(runs) + surface_rows(resolutions[1]):
        rows.append(row)
        print(row, flush=True)
    assets, shells = [], []
    for resolution in resolutions:
        assets.append(asset_row(resolution, runs))
        print(assets[-1], flush=True)
    for faces, cells in remeshes:
        shells.append(remesh_row(faces, cells, runs))
        print(shells[-1], flush=True)
    slopes = {
        name: slope(assets, "voxels", name)
        for name in ("dual_grid_ms", "watertight_ms", "watertight_growth_mb", "released_ms", "released_growth_mb")
    }
    largest = [row for row in shells if row["faces"] == max(each["faces"] for each in shells)]
    slopes["remesh_ms_over_cells"] = slope(largest, "cells", "watertight_ms")
    same = [row for row in shells if row["cells"] == remeshes[0][1]]
    slopes["remesh_ms_over_faces"] = slope(same, "faces", "watertight_ms")
    print(slopes)
    name = "asset_finishing-quick" if arguments.quick else "asset_finishing"
    print(measure.write(name, rows + assets + shells, slopes=slopes))


if __name__ == "__main__":
    main()
