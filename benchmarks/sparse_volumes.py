"""Speed and memory of sparse voxels over their number, of back-projection over views and of attention over tokens.

    python benchmarks/sparse_volumes.py [reference] [voxels] [views] [tokens] [--cores 1]

Voxels are those within half a voxel of a bent torus, in the order in which decoders make them, with 12 neighbours each.
Rates of convolution count the products of voxels that exist; they stand beside the rate at which the same cores
multiply matrices of 2048 x 2048 in turn with it, one on each core. Twins are the plain torch versions, rivals what
torch offers by itself: grid_sample for each view, and attention of all tokens under a mask. Memory is what one call
takes above the level before it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import log_log_plot
import measure
import torch
from bundle3d.pipelines.kernels import one_torch_thread, run_jobs, thread_count
from bundle3d.pipelines.views.rig import orbit
from bundle3d.pipelines.volumes.back_projection import back_project, back_projected_chunks, map_sampler
from bundle3d.pipelines.volumes.block_attention import block_diagonal_attention
from bundle3d.pipelines.volumes.neighbours import neighbour_map
from bundle3d.pipelines.volumes.projection import GridCamera, grid_points, rig_cameras, sampling_coordinates
from bundle3d.pipelines.volumes.sparse_convolution import submanifold_convolution
from bundle3d.pipelines.volumes.subdivide import channel_to_space, subdivide_coords

CHANNELS = 64
MATRIX = 2048
LEVELS = 3  # of subdivision down to the voxels
LIFTED_CHANNELS, MAP_SIZE, GRID = 256, 32, 64
HEADS, HEAD_CHANNELS = 4, 64
LEAST_MEASURED = 0.1
Candidates = dict[str, Callable[[], Any]]


def shell(voxels: int) -> tuple[torch.Tensor, int]:
    """About that many voxels (N, 4) around a bent torus, and their lattice's resolution."""
    base = max(4, round((voxels / 1.78) ** 0.5 / 2**LEVELS))
    coords = torch.cat((torch.zeros(base**3, 1), torch.cartesian_prod(*[torch.arange(base)] * 3)), dim=1).int()
    for level in range(LEVELS + 1):
        resolution = base << level
        x, y, z = ((coords[:, 1:] + 0.5) * (2.0 / resolution) - 1.0).unbind(1)
        bent = 0.03 * torch.sin(9 * x) * torch.sin(8 * y)
        distance = (((x.square() + y.square()).sqrt() - 0.6).square() + z.square()).sqrt() - 0.25 + bent
        if level == LEVELS:
            break
        coords = coords[distance.abs() < 3.0 / resolution]
        coords = subdivide_coords(coords, torch.ones(coords.shape[0], 8, dtype=torch.bool))
    return coords[distance.abs() < 1.2 / resolution], resolution


def multiply_matrices() -> Callable[[], Any]:
    """One product of two matrices on each core."""
    one, other = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    into = [torch.empty(MATRIX, MATRIX) for _ in range(thread_count())]

    def work(result: torch.Tensor) -> None:
        with one_torch_thread():
            torch.mm(one, other, out=result)

    return lambda: run_jobs(work, [(result,) for result in into])


def grown(run: Callable[[], Any]) -> float:
    with measure.track_peak() as memory:
        run()
    return round(memory["growth"] / 2**20, 1)


def timed(candidates: Candidates, runs: int, **facts: Any) -> dict[str, Any]:
    """A row of all candidates' times and memory, with their times over that of the first."""
    timings = measure.compare(candidates, runs, seconds=30.0)
    row = dict(facts)
    for name, timing in timings.items():
        row.update(timing.row(name))
        row[f"{name}_memory_mb"] = grown(candidates[name])
    print(row, flush=True)
    return row


def over_voxels(voxels: int, runs: int) -> dict[str, Any]:
    coords, resolution = shell(voxels)
    count = coords.shape[0]
    near = neighbour_map(coords, resolution)
    pairs = int((near >= 0).sum())
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, CHANNELS, generator=generator)
    weight = torch.randn(CHANNELS, 3, 3, 3, CHANNELS, generator=generator) / (5 * CHANNELS**0.5)
    bias = torch.randn(CHANNELS, generator=generator)
    children = torch.rand(count, 8, generator=generator) < 0.5
    cameras, maps = rig_cameras(orbit(4)), lifted_maps(4, CHANNELS)
    twins = [map_sampler(plane, backend="torch") for plane in maps]

    def subdivide() -> Any:
        return channel_to_space(features, children), subdivide_coords(coords, children)

    row = timed(
        {
            "convolution": lambda: submanifold_convolution(features, weight, bias, near),
            "matrix_product": multiply_matrices(),
            "convolution_torch_twin": lambda: submanifold_convolution(features, weight, bias, near, "torch"),
            "neighbours": lambda: neighbour_map(coords, resolution),
            "neighbours_torch_twin": lambda: neighbour_map(coords, resolution, "torch"),
            "subdivision": subdivide,
            "back_projection": lambda: back_project(maps, cameras, resolution, coords[:, 1:]),
            "back_projection_torch_twin": lambda: back_project(twins, cameras, resolution, coords[:, 1:]),
        },
        runs,
        what="voxels",
        voxels=count,
        resolution=resolution,
        channels=CHANNELS,
        neighbours=round(pairs / count, 2),
    )
    work, product = 2.0 * pairs * CHANNELS**2, 2.0 * MATRIX**3 * thread_count()
    for kind in ("", "cpu_"):  # processor time tells more than wall time where other programs use the machine
        rate, limit = work / row[f"convolution_{kind}ms"] / 1e6, product / row[f"matrix_product_{kind}ms"] / 1e6
        row[f"convolution_{kind}gflops"], row[f"matrix_product_{kind}gflops"] = round(rate, 1), round(limit, 1)
        row[f"{kind}share_of_matrix_product"] = round(rate / limit, 3)
        for name in ("convolution", "neighbours", "back_projection"):
            row[f"{name}_{kind}times_torch_twin"] = round(
                row[f"{name}_torch_twin_{kind}ms"] / row[f"{name}_{kind}ms"], 2
            )
    print({name: value for name, value in row.items() if "share" in name or "times" in name}, flush=True)
    return row


def lifted_maps(views: int, channels: int) -> list[torch.Tensor]:
    return list(torch.randn(views, channels, MAP_SIZE, MAP_SIZE, generator=torch.Generator().manual_seed(1)))


def grid_sampled(maps: list[torch.Tensor], cameras: tuple[GridCamera, ...]) -> torch.Tensor:
    """The whole grid by torch's own sampling, view by view."""
    points, total = grid_points(GRID), torch.zeros(LIFTED_CHANNELS, GRID**3)
    for plane, camera in zip(maps, cameras):
        at = sampling_coordinates(camera.project(points), 512)[None, None]
        total += torch.nn.functional.grid_sample(plane[None], at, padding_mode="border", align_corners=False)[0, :, 0]
    return total.T / len(maps)


def over_views(views: int, runs: int) -> dict[str, Any]:
    maps, cameras = lifted_maps(views, LIFTED_CHANNELS), rig_cameras(orbit(views))
    twins = [map_sampler(plane, backend="torch") for plane in maps]

    def stream() -> torch.Tensor:
        chunks = back_projected_chunks(maps, cameras, GRID)
        return torch.stack([features.sum(0) for _, features in chunks]).sum(0)

    candidates: Candidates = {
        "whole": lambda: back_project(maps, cameras, GRID),
        "streamed": stream,
        "torch_twin": lambda: back_project(twins, cameras, GRID),
        "grid_sample": lambda: grid_sampled(maps, cameras),
    }
    return timed(candidates, runs, what="views", views=views, voxels=GRID**3, channels=LIFTED_CHANNELS)


def over_tokens(tokens: int, runs: int) -> dict[str, Any]:
    """Attention within four items of unequal length."""
    lengths = [tokens // 8, tokens // 4, tokens // 2, tokens - tokens // 8 - tokens // 4 - tokens // 2]
    generator = torch.Generator().manual_seed(2)
    query, key, value = (torch.randn(tokens, HEADS, HEAD_CHANNELS, generator=generator) for _ in range(3))

    def masked() -> torch.Tensor:
        item = torch.arange(4).repeat_interleave(torch.tensor(lengths))
        parts = (part.transpose(0, 1)[None] for part in (query, key, value))
        mask = item[:, None] == item
        return torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask)

    candidates: Candidates = {
        "attention": lambda: block_diagonal_attention(query, key, value, lengths, lengths),
        "masked": masked,
    }
    return timed(candidates, runs, what="tokens", tokens=tokens, heads=HEADS, channels=HEAD_CHANNELS)


CURVES = {
    "voxels": (
        "convolution",
        "convolution_torch_twin",
        "neighbours",
        "neighbours_torch_twin",
        "subdivision",
        "back_projection",
        "back_projection_torch_twin",
    ),
    "views": ("whole", "streamed", "torch_twin", "grid_sample"),
    "tokens": ("attention", "masked"),
}
PARTS: dict[str, tuple[Callable[[int, int], dict[str, Any]], tuple[int, ...]]] = {
    "reference": (over_voxels, (500_000,)),
    "voxels": (over_voxels, (10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000)),
    "views": (over_views, (1, 2, 4, 8, 16)),
    "tokens": (over_tokens, (1024, 2048, 4096, 8192)),
}


def curves(rows: list[dict[str, Any]], part: str, unit: str) -> dict[str, log_log_plot.Series]:
    """What a part's candidates took over its sizes."""
    return {name: [(row[part], max(row[f"{name}_{unit}"], LEAST_MEASURED)) for row in rows] for name in CURVES[part]}


def run(part: str, runs: int) -> None:
    """Measure one part, and store and draw what there is of it after every row."""
    measured, sizes = PARTS[part]
    rows: list[dict[str, Any]] = []
    for size in sizes:
        rows.append(measured(size, runs))
        slopes: dict[str, float] = {}
        if len(rows) > 1:
            for unit, title in (("cpu_ms", "milliseconds of processor time"), ("memory_mb", "megabytes")):
                found = curves(rows, part, unit)
                slopes |= {f"{name}_{unit}": round(log_log_plot.slope(series), 2) for name, series in found.items()}
                log_log_plot.draw(found, f"{title} over {part}", measure.RESULTS / f"sparse_volumes-{part}-{unit}.png")
        path = measure.write(f"sparse_volumes-{part}", rows, slopes=slopes)
    print(slopes, path, sep="\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all where none is named")
    parser.add_argument("--runs", type=int, default=5, help="of which the median counts")
    parser.add_argument("--cores", type=int, help="use so many of the cores")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}, but got {', '.join(unknown)}")
    if options.cores and not hasattr(os, "sched_setaffinity"):
        parser.error("this system does not let a process choose its cores")
    if options.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    torch.set_num_threads(thread_count())
    for part in options.parts or PARTS:
        run(part, options.runs)


if __name__ == "__main__":
    main()
