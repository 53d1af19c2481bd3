"""Speed and memory of the visual hull, of vertex colours and of the texture bake over faces, views and resolutions.

    python benchmarks/bake.py [--quick]

The bake's lookup of texels is set against its torch twin, and the whole bake against the time that writing its textures
alone takes at the measured fill rate.
"""

from __future__ import annotations

import argparse
from typing import Any

import measure
import torch
from bundle3d.pipelines.isomer.colors import color_vertices
from bundle3d.pipelines.isomer.hull import visual_hull
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.view_projection import ViewProjection
from bundle3d.pipelines.texturing.bake_views import bake_views
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.views.rig import Rig, orbit
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.pipelines.volumes.surface_nets import surface_nets

LOOKUPS = 500_000


def bumpy_ball(faces: int) -> Mesh:
    """A closed surface of about ``faces`` triangles with bumps that hide each other, with texture coordinates."""
    cells = max(8, round((faces / 5.2) ** 0.5))
    axis = torch.linspace(-1.0, 1.0, cells)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    field = 0.7 - grid.norm(dim=-1) + 0.12 * torch.sin(grid * 8.0).prod(dim=-1)
    return surface_nets(field, (-1.0,) * 3, 2.0 / (cells - 1))


def views_of(mesh: Mesh, rig: Rig, size: int) -> ViewSet:
    fragments = rasterise(rig.clip(mesh.vertices), mesh.faces, size, size)
    face = fragments.face.long().clamp(min=0)
    mask = fragments.mask.float()
    place = (mesh.vertices[mesh.faces[face]] * fragments.barycentric[..., None]).sum(-2)
    normal = torch.nn.functional.normalize(mesh.face_normals(), dim=1)[face] * mask[..., None]
    rgb = (0.5 + 0.4 * torch.sin(place * 20.0)) * mask[..., None] + (1.0 - mask[..., None])
    return ViewSet(rgb, normal, mask, rig)


def row(faces: int, views: int, size: int, resolution: int, fill: float, runs: int) -> dict[str, Any]:
    mesh = unwrap(bumpy_ball(faces), resolution)[0]
    shown = views_of(mesh, orbit(views, elevation=5.0), size)
    texels = rasterise_uv(mesh, resolution)
    points = texels.interpolate(mesh.vertices, mesh.faces)
    normals = torch.nn.functional.normalize(texels.interpolate(mesh.vertex_normals(), mesh.faces), dim=1)
    found: dict[str, Any] = {"faces": mesh.faces.shape[0], "views": views, "size": size, "resolution": resolution}
    found["texels"] = points.shape[0]
    some = torch.arange(0, points.shape[0], max(1, points.shape[0] // LOOKUPS))  # the torch twin takes its time
    points, normals = points[some], normals[some]
    backends = ("numba", "torch") if HAVE_NUMBA else ("torch",)
    lookups = {name: ViewProjection(shown.rgb, shown.mask, shown.rig, mesh, backend=name) for name in backends}
    timings = measure.compare(
        {name: lambda look=look: look(points, normals) for name, look in lookups.items()}, runs, 10.0
    )
    for name, timing in timings.items():
        found |= timing.row(f"lookup_{name}")
    if HAVE_NUMBA:
        found["lookup_ratio_to_torch"] = round(timings["torch"].median / timings["numba"].median, 1)
    found |= measure.measure(lambda: visual_hull(shown), runs, 10.0).row("hull")
    found |= measure.measure(lambda: color_vertices(mesh, shown), runs, 10.0).row("color_vertices")
    bake = measure.measure(lambda: bake_views(mesh, shown, resolution), runs)
    found |= bake.row("bake")
    found["bake_ratio_to_write"] = round(bake.median / (2 * 3 * resolution**2 / fill))
    with measure.track_peak() as peak:
        bake_views(mesh, shown, resolution)
    found["bake_peak_mb"], found["bake_growth_mb"] = peak["peak"] >> 20, peak["growth"] >> 20
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only the standard case, three runs")
    arguments = parser.parse_args()
    fill = measure.fill_rate()
    cases = [(100_000, 4, 512, 2048)]
    if not arguments.quick:
        cases += [(5_000, 4, 512, 2048), (500_000, 4, 512, 2048)]
        cases += [(100_000, 4, 256, 1024), (100_000, 4, 1024, 4096), (100_000, 24, 512, 2048)]
    rows = []
    for case in cases:
        rows.append(row(*case, fill, 3 if arguments.quick else 5))
        print(rows[-1])
    print(measure.write("bake-quick" if arguments.quick else "bake", rows, fill_gb_per_second=round(fill / 1e9, 1)))


if __name__ == "__main__":
    main()
