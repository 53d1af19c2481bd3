"""Speed of reconstruction: one optimisation step, one remeshing pass, one integration step and the whole stage.

    python benchmarks/isomer.py [--quick] [--stage]
    python benchmarks/isomer.py --device cuda

Steps and passes are timed over faces, resolution and views, compiled against their torch twins; --stage times the whole
reconstruction of a rendered knot with default options, which is all that is timed on a GPU.
"""

from __future__ import annotations

import argparse
from typing import Any

import measure
import torch
from bundle3d.pipelines.isomer.integrate import NormalIntegrator
from bundle3d.pipelines.isomer.optimizer import MeshOptimizer, OptimizerSettings
from bundle3d.pipelines.isomer.reconstruct import IsomerOptions, reconstruct
from bundle3d.pipelines.isomer.remesh import remesh
from bundle3d.pipelines.isomer.stages import ImageLoss
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.rig import orbit
from bundle3d.pipelines.views.view_set import ViewSet
from rasteriser import knot

BACKENDS = ("numba", "torch") if HAVE_NUMBA else ("torch",)


def wanted_length(vertices: torch.Tensor, faces: torch.Tensor) -> float:
    """The edge length at which even triangles cover the surface with as many faces as it has."""
    area = float(Mesh(vertices, faces).face_normals().norm(dim=1).sum() / 2)
    return (area / (0.433 * len(faces))) ** 0.5


def settled(faces: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The knot after ten passes at its own edge length, and that length: what a pass meets in a long run."""
    vertices, triangles = knot(faces)
    length = wanted_length(vertices, triangles)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        wanted = torch.full((len(vertices),), length)
        vertices, triangles = remesh(vertices, triangles, 0.5 * wanted, 1.5 * wanted, generator)
    return vertices, triangles, length


def remesh_row(faces: int, runs: int) -> dict[str, Any]:
    vertices, triangles, length = settled(faces)
    wanted = torch.full((len(vertices),), length)

    def once(backend: str) -> None:
        generator = torch.Generator().manual_seed(0)
        remesh(vertices, triangles, 0.5 * wanted, 1.5 * wanted, generator, backend=backend)

    times = measure.compare({name: lambda name=name: once(name) for name in BACKENDS}, runs)
    return {"what": "remesh", "faces": len(triangles), **_milliseconds(times)}


def step_row(faces: int, views: int, size: int, runs: int) -> dict[str, Any]:
    """Loss, gradient and step, without the remeshing that follows."""
    vertices, triangles, length = settled(faces)
    images = _views(views, size)
    settings = OptimizerSettings(shortest=length, longest=length)

    def once(backend: str) -> None:
        optimizer = MeshOptimizer(vertices, triangles, settings, backend=backend)
        leaf = optimizer.vertices.requires_grad_()
        (gradient,) = torch.autograd.grad(losses[backend](leaf, triangles, 0), leaf)
        optimizer.step(gradient)

    losses = {name: ImageLoss(images, name) for name in BACKENDS}
    times = measure.compare({name: lambda name=name: once(name) for name in BACKENDS}, runs)
    return {"what": "step", "faces": len(triangles), "views": views, "size": size, **_milliseconds(times)}


def integration_row(faces: int, views: int, size: int, runs: int) -> dict[str, Any]:
    vertices, triangles, length = settled(faces)
    integrator = NormalIntegrator(_views(views, size), length, size)
    timing = measure.measure(lambda: integrator.move(vertices, triangles), runs)
    row = {"what": "integration step", "faces": len(triangles), "views": views, "size": size}
    return {**row, "ms": round(timing.median * 1e3, 1)}


def stage_row(views: int, size: int, device: torch.device) -> dict[str, Any]:
    images = _views(views, size).to(device)
    rows: list[dict[str, Any]] = []
    with measure.timed(rows, "whole stage", device) as row:
        result = reconstruct(images, IsomerOptions())
        row |= {"faces": len(result.mesh.faces), "views": views, "size": size}
    return rows[0]


def _views(count: int, size: int) -> ViewSet:
    return render_views(Mesh(*knot(20_000)), orbit(count, elevation=10.0), size, "clay")


def _milliseconds(times: dict[str, measure.Timing]) -> dict[str, float]:
    row = {f"{name}_ms": round(timing.median * 1e3, 1) for name, timing in times.items()}
    if len(times) == 2:
        row["ratio"] = round(times["torch"].median / times["numba"].median, 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only the smallest and the middle case of everything")
    parser.add_argument("--stage", action="store_true", help="also time the whole reconstruction")
    parser.add_argument("--device", type=torch.device, default=measure.CPU, help="a GPU: for the stage alone")
    chosen = parser.parse_args()
    if chosen.device != measure.CPU:
        print(measure.write(f"isomer-{chosen.device.type}", [stage_row(4, 512, chosen.device)]))
        return
    runs = 3 if chosen.quick else 7
    cases = [("faces", (n, 4, 512)) for n in ((5_000, 50_000) if chosen.quick else (5_000, 50_000, 200_000, 500_000))]
    if not chosen.quick:
        cases += [("size", (50_000, 4, size)) for size in (256, 1024, 2048)]
        cases += [("views", (50_000, views, 512)) for views in (8, 24)]
    rows: list[dict[str, Any]] = []
    for varied, (faces, views, size) in cases:
        made = [step_row(faces, views, size, runs)]
        if varied == "faces":
            made = [remesh_row(faces, runs), *made, integration_row(faces, views, size, runs)]
        for row in made:
            print(row, flush=True)
        rows += made
    if chosen.stage:
        rows.append(stage_row(4, 512, chosen.device))
    print(measure.write("isomer", rows))


if __name__ == "__main__":
    main()
