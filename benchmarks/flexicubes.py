"""Speed, memory and truth of surface extraction: FlexiCubes against surface nets and scikit-image's marching cubes.

    python benchmarks/flexicubes.py [--quick]

Fields in float32 on one thread, at 32, 64 and 128 cubes per side. FlexiCubes gets random weights for its surface cubes
and random offsets; "with gradients" adds the way back to field, weights and offsets. The error is the mean distance of
the faces' centres from the sphere, in cubes. Memory is what one call takes above the level before it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import measure
import torch
from bundle3d.pipelines.meshes.topology import is_manifold, is_watertight
from bundle3d.pipelines.volumes.flexicubes import cube_weights, dual_mesh, vertex_offsets
from bundle3d.pipelines.volumes.surface_cubes import lattice_points, surface_cubes
from bundle3d.pipelines.volumes.surface_nets import surface_nets

RADIUS = 0.6
SCALE = 2.1
Surface = tuple[torch.Tensor, torch.Tensor]


def sphere(points: torch.Tensor) -> torch.Tensor:
    return points.norm(dim=1) - RADIUS


def gyroid(points: torch.Tensor) -> torch.Tensor:
    a, b, c = (6 * points).unbind(1)
    return (a.sin() * b.cos() + b.sin() * c.cos() + c.sin() * a.cos()) / 6


FIELDS = {"sphere": sphere, "gyroid": gyroid}


def methods(sdf: torch.Tensor) -> dict[str, Callable[[], Surface]]:
    """What turns ``sdf`` into vertices and faces."""
    resolution = sdf.shape[0] - 1
    origin, spacing = (-SCALE / 2,) * 3, SCALE / resolution
    generator = torch.Generator().manual_seed(0)
    found = surface_cubes(sdf)
    raw = torch.randn(found.cells.shape[0], 21, generator=generator)
    moves = torch.randn(found.vertices.shape[0], 3, generator=generator)

    def plain() -> Surface:
        return dual_mesh(surface_cubes(sdf), scale=SCALE)

    def weighted() -> Surface:
        return dual_mesh(surface_cubes(sdf), cube_weights(raw), vertex_offsets(moves, resolution), SCALE)

    def with_gradients() -> Surface:
        leaves = [part.detach().clone().requires_grad_() for part in (sdf, raw, moves)]
        cubes = surface_cubes(leaves[0])
        mesh = dual_mesh(cubes, cube_weights(leaves[1]), vertex_offsets(leaves[2], resolution), SCALE)
        mesh[0].square().sum().backward()
        return mesh[0].detach(), mesh[1]

    def nets(backend: str) -> Surface:
        mesh = surface_nets(-sdf, origin, spacing, backend)
        return mesh.vertices, mesh.faces

    run: dict[str, Callable[[], Surface]] = {
        "FlexiCubes, no preference": plain,
        "FlexiCubes": weighted,
        "FlexiCubes with gradients": with_gradients,
        "surface nets, numba": lambda: nets("numba"),
        "surface nets, torch": lambda: nets("torch"),
    }
    try:
        from skimage.measure import marching_cubes
    except ImportError:
        return run

    def marching() -> Surface:
        vertices, faces, _, _ = marching_cubes(sdf.numpy(), 0.0, spacing=(spacing,) * 3, gradient_direction="ascent")
        return torch.from_numpy(vertices - SCALE / 2), torch.from_numpy(faces.copy()).long()

    return {**run, "marching cubes of scikit-image": marching}


def rows_for(name: str, resolution: int, runs: int) -> list[dict[str, Any]]:
    size = resolution + 1
    sdf = FIELDS[name](lattice_points(torch.arange(size**3), resolution, SCALE)).reshape(size, size, size)
    candidates = methods(sdf)
    timings = measure.compare(candidates, runs)
    rows = []
    for method, run in candidates.items():
        with measure.track_peak() as memory:
            vertices, faces = run()
        row: dict[str, Any] = {"field": name, "resolution": resolution, "method": method}
        row.update(timings[method].row("wall"), memory_growth_mb=round(memory["growth"] / 2**20, 1))
        row.update(vertices=vertices.shape[0], faces=faces.shape[0])
        row.update(watertight=is_watertight(faces), manifold=is_manifold(faces))
        if name == "sphere":
            row.update(truth(vertices, faces, SCALE / resolution))
        rows.append(row)
        print(row, flush=True)
    return rows


def truth(vertices: torch.Tensor, faces: torch.Tensor, cube: float) -> dict[str, float]:
    a, b, c = (vertices.double()[faces[:, i]] for i in range(3))
    volume = abs(float((torch.linalg.cross(a, b) * c).sum() / 6))
    error = float((((a + b + c) / 3).norm(dim=1) - RADIUS).abs().mean())
    return {"volume_ratio": round(volume / (4 / 3 * math.pi * RADIUS**3), 5), "error_in_cubes": round(error / cube, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only 32 cubes per side")
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for resolution in (32,) if options.quick else (32, 64, 128):
        for name in FIELDS:
            rows += rows_for(name, resolution, options.runs)
    note = "wall_ms includes waiting for other processes on the same core; wall_cpu_ms does not"
    print(measure.write("flexicubes", rows, threads=1, note=note))


if __name__ == "__main__":
    main()
