"""Speed of the rasteriser and of the differentiable rendering over faces, resolution and views.

    python benchmarks/rasteriser.py [--quick] [--device cuda]

Each row has the compiled rasteriser against its torch twin, against the system's software OpenGL where there is one,
and against the time that writing the result alone takes at the measured fill rate; then rendering forward, and forward
and backward. On a GPU, where the torch twin is what works, the compiled rasteriser on the CPU stands beside it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import measure
import torch
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.render import render_attributes
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import Rig, orbit
from software_opengl import SoftwareOpenGL

BYTES_PER_PIXEL = 4 + 4 + 12  # face, depth, barycentrics


def knot(faces: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed tube around a trefoil knot: about three layers deep, a quarter to a third of the image."""
    around = max(6, round(math.sqrt(faces / 2 / 12)))
    along = max(12, faces // (2 * around))
    u = (torch.arange(along) * (2 * math.pi / along)).double()
    v = (torch.arange(around) * (2 * math.pi / around)).double()

    def curve(t: torch.Tensor) -> torch.Tensor:
        points = (torch.sin(t) + 2 * torch.sin(2 * t), torch.cos(t) - 2 * torch.cos(2 * t), -torch.sin(3 * t))
        return torch.stack(points, dim=-1) / 3.6

    centre, ahead = curve(u), torch.nn.functional.normalize(curve(u + 1e-4) - curve(u - 1e-4), dim=-1)
    side = torch.nn.functional.normalize(
        torch.linalg.cross(ahead, torch.tensor((0.3, 0.2, 1.0)).to(ahead)[None]), dim=-1
    )
    up = torch.linalg.cross(side, ahead)
    ring = v.cos()[None, :, None] * side[:, None] + v.sin()[None, :, None] * up[:, None]
    vertices = centre[:, None] + 0.2 * ring
    a, b = torch.meshgrid(torch.arange(along), torch.arange(around), indexing="ij")
    a1, b1 = (a + 1) % along, (b + 1) % around
    p, q, r, s = (x * around + y for x, y in ((a, b), (a1, b), (a1, b1), (a, b1)))
    triangles = torch.stack((torch.stack((p, q, r), dim=-1), torch.stack((p, r, s), dim=-1)), dim=2)
    return vertices.reshape(-1, 3).float(), triangles.reshape(-1, 3)


def rig(views: int, projection: str) -> Rig:
    if projection == "perspective":
        return orbit(views, elevation=10.0)
    return Rig(tuple(Camera(360.0 * i / views, 10.0, 4.5, half_height=1.2) for i in range(views)))


def row(
    faces: int, views: int, size: int, projection: str, fill: float, runs: int, device: torch.device
) -> dict[str, Any]:
    vertices, triangles = (tensor.to(device) for tensor in knot(faces))
    clip = rig(views, projection).clip(vertices)
    normals = torch.nn.functional.normalize(vertices, dim=-1)
    gradient = torch.randn(views, size, size, 4, generator=torch.Generator().manual_seed(0)).to(device)

    def step() -> None:
        attributes, moved = normals.clone().requires_grad_(), clip.clone().requires_grad_()
        render_attributes(attributes, moved, triangles, size, size).backward(gradient)

    on_cpu = clip.cpu(), triangles.cpu()
    rival = "torch_twin" if device.type == "cpu" else "compiled_on_cpu"
    candidates: dict[str, Callable[[], Any]] = {
        "rasterise": lambda: rasterise(clip, triangles, size, size),
        rival: lambda: rasterise(*on_cpu, size, size, "torch" if device.type == "cpu" else "auto"),
        "render": lambda: render_attributes(normals, clip, triangles, size, size),
        "render_and_backward": step,
    }
    facts: dict[str, Any] = {"faces": len(triangles), "views": views, "size": size, "projection": projection}
    opengl = None
    try:
        opengl = SoftwareOpenGL(on_cpu[1].numpy(), len(vertices), size, size)
    except Exception as reason:  # no moderngl, no EGL, no driver: every system refuses in its own way
        facts["opengl"] = f"not available ({type(reason).__name__})"
    else:
        drawn, array = opengl, on_cpu[0].numpy()
        facts["opengl"] = opengl.renderer
        candidates["software_opengl"] = lambda: drawn(array)
        same = torch.from_numpy(opengl(array)[..., 0].copy()).int() == rasterise(*on_cpu, size, size).face
        facts["same_faces_as_opengl"] = round(float(same.double().mean()), 6)
    timings = measure.compare({name: measure.finished(work, device) for name, work in candidates.items()}, runs)
    with measure.track_peak() as memory:
        candidates["rasterise"]()
    if opengl is not None:
        opengl.close()
    for name, timing in timings.items():
        facts.update(timing.row(name))
    ours, limit = timings["rasterise"], views * size * size * BYTES_PER_PIXEL / fill
    for other in (rival, "software_opengl"):
        if other in timings:
            facts[f"times_{other}"] = round(timings[other].median / ours.median, 2)
            # processor time tells more than wall time where other programs use the machine
            facts[f"cpu_times_{other}"] = round(timings[other].processor / ours.processor, 2)
    facts["fill_limit_ms"] = round(limit * 1e3, 3)
    facts["share_of_fill_limit"] = round(limit / ours.median, 3)
    facts["rasterise_memory_growth_mb"] = round(memory["growth"] / 2**20, 1)
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="only the reference case, 50k faces in four 512 views")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", type=torch.device, default=measure.CPU)
    options = parser.parse_args()
    cases = [(50_000, 4, 512, "perspective"), (50_000, 4, 512, "orthographic")]
    if not options.quick:
        cases += [(faces, 4, 512, "perspective") for faces in (5_000, 20_000, 100_000, 200_000, 500_000)]
        cases += [(50_000, 4, size, "perspective") for size in (256, 1024, 2048)]
        cases += [(50_000, views, 512, "perspective") for views in (8, 12, 24)]
    fill = measure.fill_rate(device=options.device)
    rows: list[dict[str, Any]] = []
    name = "rasteriser-quick" if options.quick else "rasteriser"
    name += "" if options.device == measure.CPU else f"-{options.device.type}"
    rival = "torch_twin" if options.device == measure.CPU else "compiled_on_cpu"
    for case in cases:
        rows.append(row(*case, fill, options.runs, options.device))
        found = rows[-1]
        print(
            f"{found['faces']:>7} faces {found['views']:>2} x {found['size']:<4} {found['projection']:<12} "
            f"rasterise {found['rasterise_ms']:7.1f} ms (cpu {found['rasterise_cpu_ms']:7.1f}), "
            f"{rival} x {found[f'times_{rival}']:5.1f} (cpu {found[f'cpu_times_{rival}']:5.1f}), "
            f"OpenGL x {found.get('times_software_opengl', float('nan')):4.1f} "
            f"(cpu {found.get('cpu_times_software_opengl', float('nan')):4.1f}), "
            f"fill limit {found['share_of_fill_limit']:.2f}, render {found['render_ms']:6.1f} ms, "
            f"with backward {found['render_and_backward_ms']:6.1f} ms "
            f"(cpu {found['render_and_backward_cpu_ms']:6.1f})",
            flush=True,
        )
        path = measure.write(name, rows, fill_gigabytes_per_second=round(fill / 1e9, 2))
    print(path)


if __name__ == "__main__":
    main()
