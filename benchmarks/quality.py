"""How good reconstructions are, on real bundles and on meshes that are rendered to bundles and rebuilt.

    python benchmarks/quality.py --data DIR [--only bundles|meshes] [--match NAME] [--pictures DIR]

DIR holds ``bundles/*.png`` and ``meshes/*.glb``. Prints a table for each and writes them with the machine's description
to ``benchmarks/results``.

Bundles: overlap of the silhouettes and angle between the re-rendered and the given normals, per view; half-extents of
the upright bounding box, which ``bounding_deviation`` judges (its outermost vertices), and between the sides of the box
(medians of their faces), which ``deviation`` judges.

Meshes (specs/field.md 4.4): normalised to 0.9 of the cube, rendered to an 8-bit bundle, reconstructed, unwrapped and
baked. Chamfer distance (sum of both mean distances) and F-score on 16384 points each, in units where the original spans
[-1, 1]; neither is aligned to the other, except for ``cd_aligned``, where similarity ICP fits the result. ``floor`` is
the Chamfer distance of two samples of the original. Images are compared as wholes, and inside the original's
silhouette; the orbit has 24 views at elevations 0, 20 and -10. ``unlit`` is the base colour; ``lit`` has the light
baked in, as in the images of a bundle. ``seen`` and ``unseen`` are mean distances from the original to the result, of
points that some input view shows and of those that none does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from bundle3d.pipelines.isomer.reconstruct import IsomerOptions, Reconstruction, reconstruct
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.metrics.alignment import align
from bundle3d.pipelines.metrics.geometry import chamfer, compare_meshes, match, sample_surface
from bundle3d.pipelines.metrics.image import normal_angle_error, psnr, silhouette_iou, ssim
from bundle3d.pipelines.metrics.report import mesh_report
from bundle3d.pipelines.rendering.render_mesh import iterate_buffers, render_mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.texturing.bake_views import bake_views
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.hull_rays import sample_view
from bundle3d.pipelines.views.rig import Rig, named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from PIL import Image

# Half-extents of the boxes (specs/kiss3dgen.md 1.2) and the radius of the sphere (section 11).
BOXES = {"1": (1.0, 0.2, 0.401), "2": (0.399, 1.0, 0.399), "3": (0.6, 0.6, 0.6), "4": (1.0, 0.4, 0.399)}
SPHERE, SPHERE_RADIUS = "5", 0.2195 * 4.5
TILE = 512
TEXTURE = 2048
SHRINK = 0.9
SAME_SURFACE = 0.03
FACING = 0.95  # cosine up to which a face belongs to a side of a box


def bundle_row(path: Path, pictures: Path | None) -> dict[str, Any]:
    """Figures of one bundle image."""
    with Image.open(path) as picture:
        image = torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255.0)
    views = split_bundle(image)
    start = time.perf_counter()
    with measure.track_peak() as memory:
        result = reconstruct(views, IsomerOptions())
    seconds = time.perf_counter() - start
    again = render_views(result.mesh, result.rig, views.size[0], "clay")
    ious = silhouette_iou(again.mask, views.mask)
    errors = [_normal_error(again, views, index) for index in range(len(views.rig))]
    row = {
        "bundle": path.stem,
        "iou": [round(float(iou), 4) for iou in ious],
        "normal_mean": [round(mean, 2) for mean, _ in errors],
        "normal_median": [round(median, 2) for _, median in errors],
        "bounding_half_extents": [round(float(extent), 4) for extent in _upright_box(result.mesh)[1]],
        "fitted_half_extents": [round(extent, 4) for extent in _fitted_half_extents(result.mesh)],
        "deviation": _deviation(path.stem, result.mesh),
        "bounding_deviation": _bounding_deviation(path.stem, result.mesh),
        "seconds": round(seconds, 1),
        "peak_mb": memory["peak"] >> 20,
        **_asset(result.mesh),
    }
    if pictures is not None:
        _save(pictures / f"bundle-{path.stem}.png", join_bundle(again))
    return row


def mesh_row(path: Path, pictures: Path | None) -> dict[str, Any]:
    """Figures of one mesh, rendered, reconstructed and baked."""
    truth = normalise(read_mesh(path), 2.0 * SHRINK)
    inputs = {mode: _through_eight_bits(truth, mode) for mode in ("unlit", "matte")}
    start = time.perf_counter()
    with measure.track_peak() as memory:
        result = reconstruct(inputs["matte"], IsomerOptions())
        plain, _ = unwrap(result.mesh, TEXTURE)
        baked = {mode: bake_views(plain, _seen_by(result, views), TEXTURE) for mode, views in inputs.items()}
    seconds = time.perf_counter() - start
    enlarged, original = (mesh.with_(vertices=mesh.vertices / SHRINK) for mesh in (result.mesh, truth))
    scores = compare_meshes(enlarged, original)
    row: dict[str, Any] = {
        "mesh": path.stem[:8],
        "cd": round(scores.chamfer, 4),
        "cd_squared": round(scores.chamfer_squared, 5),
        "cd_aligned": round(compare_meshes(align(enlarged, original, turns=1), original).chamfer, 4),
        "floor": round(chamfer(sample_surface(original, seed=2)[0], sample_surface(original, seed=3)[0]), 4),
        "f_score": {str(threshold): round(value, 4) for threshold, value in scores.f_score.items()},
        "normal_consistency": round(scores.normal_consistency, 4),
        **_seen_and_unseen(enlarged, original, truth, inputs["matte"].rig),
        "iou": [round(float(iou), 4) for iou in _input_iou(result, inputs["matte"])],
        "seconds": round(seconds, 1),
        "peak_mb": memory["peak"] >> 20,
        **_asset(result.mesh),
    }
    for name, mode in (("unlit", "unlit"), ("lit", "matte")):
        row[name] = _image_scores(baked[mode], result, truth, inputs[mode], mode)
    if pictures is not None:
        rig = Rig(orbit_rig().cameras[::5])
        seen = [
            render_mesh(mesh, rig, 384, 384, mode)[0] for mesh, mode in ((truth, "matte"), (baked["matte"], "unlit"))
        ]
        clay = [render_mesh(mesh, rig, 384, 384, "clay")[0] for mesh in (truth, result.mesh)]
        _save(pictures / f"mesh-{path.stem[:8]}.png", torch.cat([torch.cat(tuple(row), 1) for row in (*seen, *clay)]))
    return row


def orbit_rig() -> Rig:
    """24 cameras every 15 degrees, elevations 0, 20, -10 in turn, as near as the shrunken cube fits with 5 % margin."""
    cameras = [Camera(15.0 * i, (0.0, 20.0, -10.0)[i % 3], 4.5, fov=30.0) for i in range(24)]
    corners = SHRINK * torch.cartesian_prod(*(torch.tensor((-1.0, 1.0)),) * 3)
    distance = 4.0
    while True:
        rig = Rig(tuple(cameras), "orbit 24").at_distance(distance)
        clip = rig.clip(corners)
        if float((clip[..., :2] / clip[..., 3:]).abs().max()) < 1.0 / 1.05:
            return rig
        distance += 0.05


def _through_eight_bits(mesh: Mesh, mode: str) -> ViewSet:
    image = join_bundle(render_views(mesh, named_rig("kiss3dgen"), TILE, mode))
    return split_bundle((image * 255.0).round() / 255.0)


def _seen_by(result: Reconstruction, views: ViewSet) -> ViewSet:
    return ViewSet(views.rgb, views.normal, views.mask, result.rig, views.coord)


def _normal_error(found: ViewSet, given: ViewSet, index: int) -> tuple[float, float]:
    both = torch.minimum(found.mask[index], given.mask[index]) >= 0.999
    # The rigs may differ by a fitted distance, never by a rotation, so world normals compare directly.
    return normal_angle_error(found.normal[index], given.normal[index], both)


def _upright_box(mesh: Mesh) -> tuple[torch.Tensor, torch.Tensor]:
    """Axes (3, 3) and half-extents (3,) of the smallest upright box: the longer side, up, the shorter."""
    points = mesh.vertices.double()
    up = torch.tensor((0.0, 1.0, 0.0), dtype=torch.float64)
    best: tuple[float, torch.Tensor, torch.Tensor] | None = None
    for angle in torch.linspace(0.0, torch.pi / 2.0, 361, dtype=torch.float64)[:-1]:
        along = torch.stack((angle.cos(), torch.zeros_like(angle), angle.sin()))
        axes = torch.stack((along, up, torch.linalg.cross(along, up)))
        offsets = points @ axes.T
        extents = (offsets.amax(0) - offsets.amin(0)) / 2.0
        area = float(extents[0] * extents[2])
        if best is None or area < best[0]:
            best = area, axes, extents
    assert best is not None
    order = [0, 1, 2] if best[2][0] >= best[2][2] else [2, 1, 0]
    return best[1][order], best[2][order]


def _fitted_half_extents(mesh: Mesh) -> list[float]:
    """Half the distances between opposite sides of a box, each side at the median of its faces, weighted by area."""
    axes, _ = _upright_box(mesh)
    normals = mesh.face_normals().double()
    areas = normals.norm(dim=1)
    facing = (normals / areas.clamp(min=1e-20)[:, None]) @ axes.T
    offsets = mesh.vertices[mesh.faces].mean(1).double() @ axes.T
    found = []
    for axis in range(3):
        sides = [_weighted_median(s * offsets[:, axis], areas * (s * facing[:, axis] > FACING)) for s in (1, -1)]
        found.append(sum(sides) / 2.0)
    return found


def _weighted_median(values: torch.Tensor, weights: torch.Tensor) -> float:
    order = values.argsort()
    cumulative = weights[order].cumsum(0)
    return float(values[order][int((cumulative < cumulative[-1] / 2.0).sum())])


def _deviation(name: str, mesh: Mesh) -> float | None:
    """Largest relative deviation from the known half-extents or radius, where they are known."""
    if name == SPHERE:
        return round(abs(float(mesh.vertices.norm(dim=-1).mean()) / SPHERE_RADIUS - 1.0), 4)
    if name not in BOXES:
        return None
    return _largest_deviation(_fitted_half_extents(mesh), BOXES[name])


def _bounding_deviation(name: str, mesh: Mesh) -> float | None:
    """Largest relative deviation of the outermost vertices of a box from its known half-extents."""
    return _largest_deviation(_upright_box(mesh)[1].tolist(), BOXES[name]) if name in BOXES else None


def _largest_deviation(found: Iterable[float], true: Iterable[float]) -> float:
    return round(max(abs(a / b - 1.0) for a, b in zip(found, true)), 4)


def _asset(mesh: Mesh) -> dict[str, Any]:
    report = mesh_report(mesh)
    return {
        "faces": report.faces,
        "watertight": report.watertight,
        "manifold": report.manifold,
        "components": report.components,
        "inner_shells": report.inner_shells,
    }


def _input_iou(result: Reconstruction, views: ViewSet) -> torch.Tensor:
    return silhouette_iou(render_mesh(result.mesh, result.rig, TILE, TILE, "clay")[1], views.mask)


def _image_scores(baked: Mesh, result: Reconstruction, truth: Mesh, views: ViewSet, mode: str) -> dict[str, float]:
    again, _ = render_mesh(baked, result.rig, TILE, TILE, "unlit")
    orbit = orbit_rig()
    given, mask = render_mesh(truth, orbit, TILE, TILE, mode)
    found, _ = render_mesh(baked, orbit, TILE, TILE, "unlit")
    return {
        "input_psnr": round(_mean(psnr(a, b) for a, b in zip(again, views.rgb)), 2),
        "input_psnr_inside": round(_mean(psnr(a, b, m) for a, b, m in zip(again, views.rgb, views.mask)), 2),
        "orbit_psnr": round(_mean(psnr(a, b) for a, b in zip(found, given)), 2),
        "orbit_psnr_inside": round(_mean(psnr(a, b, m) for a, b, m in zip(found, given, mask)), 2),
        "orbit_ssim": round(ssim(found, given), 4),
    }


def _mean(values: Iterable[float]) -> float:
    """Mean in dB; identical images count as 99."""
    listed = [min(value, 99.0) for value in values]
    return sum(listed) / len(listed)


def _seen_and_unseen(result: Mesh, original: Mesh, placed: Mesh, rig: Rig) -> dict[str, float | None]:
    """Where the distance from the original to the result comes from, and how much of the original no view shows."""
    points, normals = sample_surface(original, seed=1)
    there = torch.from_numpy(match(points, sample_surface(result)[0]).there)
    seen = torch.zeros(points.shape[0], dtype=torch.bool)
    for view, camera in zip(iterate_buffers(placed, rig, TILE, TILE, "normal", supersample=1), rig):
        shown = sample_view(view.position.permute(2, 0, 1), camera, points * SHRINK)
        seen |= (shown - points * SHRINK).norm(dim=-1) < SAME_SURFACE
    level = normals[:, 1].abs() > 0.7
    return {
        "seen": round(float(there[seen].mean()), 4),
        "unseen": round(float(there[~seen].mean()), 4) if bool((~seen).any()) else None,
        "unseen_share": round(float((~seen).float().mean()), 4),
        "unseen_level_share": round(float((~seen & level).float().mean()), 4),
    }


def _save(path: Path, image: torch.Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((image.clamp(0.0, 1.0) * 255.0).round().byte().numpy()).save(path)


def _table(rows: list[dict[str, Any]]) -> str:
    """A markdown table of rows with equal keys."""
    flat = [_flattened(row) for row in rows]
    names = list(flat[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in flat]
    return "\n".join(lines)


def _flattened(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat.update({f"{name} {key}": inner for key, inner in value.items()})
        else:
            flat[name] = " ".join(map(str, value)) if isinstance(value, list) else value
    return flat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bundles/*.png and meshes/*.glb")
    parser.add_argument("--only", choices=("bundles", "meshes"))
    parser.add_argument("--match", default="", help="only files whose name starts with this")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the results")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, pattern, row in (("bundles", "*.png", bundle_row), ("meshes", "*.glb", mesh_row)):
        paths = sorted((arguments.data / kind).glob(pattern))
        paths = [path for path in paths if path.name.startswith(arguments.match)]
        if arguments.only in (None, kind) and paths:
            found[kind] = []
            for path in paths:
                found[kind].append(row(path, arguments.pictures))
                print(found[kind][-1], flush=True)
            print(f"\n{_table(found[kind])}\n", flush=True)
    if not found:
        parser.error(f"no bundles or meshes in {arguments.data}")
    if "meshes" in found:
        middle = {name: float(np.median([row[name] for row in found["meshes"]])) for name in ("cd", "seconds")}
        middle["f_score 0.1"] = float(np.median([row["f_score"]["0.1"] for row in found["meshes"]]))
        print(f"medians over the meshes: {middle}")
    if not arguments.match:
        name = "-".join(("quality", *found)) if arguments.only else "quality"
        print(measure.write(name, [{"kind": kind, **row} for kind, rows in found.items() for row in rows]))


if __name__ == "__main__":
    main()
