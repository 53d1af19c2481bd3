"""How well one picture of an object that training never saw becomes 3D, and what the way from photo to GLB takes.

    python benchmarks/image_to_3d.py --keep FOLDER [--route lrm|isomer|full] [--count N] [--device cuda] [--varied]
    python benchmarks/image_to_3d.py --keep FOLDER --photos FOLDER [--route ...]

Objects are procedural, of subjects and from random numbers that no training of the demo models has (``held_out``). Each
is rendered to one photo with alpha, which goes through preparation, multi-view model, reconstruction model and, by the
route, reference bundle, bundle drawing, ISOMER and texture (``photo_route``); what is judged is the GLB, read back.
``one_view`` draws the views around the photo, ``true_views`` takes renders of the object in their place.

f_score at 0.1 and Chamfer distance cd against the true object in a cube [-1, 1]^3, after 24 turns about the up axis and
similarity ICP (specs/field.md 4.4); unaligned: neither turned nor fitted but for the boxes; lrm_: of the reconstruction
model's mesh, before ISOMER.
iou, psnr and ssim: the GLB rendered in the direction of the photo against the framed photo of 512 pixels on white,
psnr over the whole picture and, inside, over the photo's silhouette. Framing takes distance and place out of the photo,
so both are fitted to its silhouette; untouched_iou is that from the photo's own camera. Colours of the reconstruction
model are lit as the photo is; those of the other routes have the light in them, and the photo itself on their front.
normals: mean angle in degrees to the true normals there. truth_: the same figures of the true object in the GLB's
place, which is how far the judge can be trusted.
A photo that does not become a GLB counts as wrong everywhere.

The full route draws its bundle with the object's caption as prompt, as if someone had described the photo: that names
shape and colours, so that its figures are those of picture and words together. ``--uncaptioned`` gives no words.

Kiss3DGen's published figures stand in a column of their own and are no like for like: scanned household objects (GSO)
against procedural solids of the classes that training saw in other colours and sizes; FLUX.1-dev against models of a
few million parameters; its threshold and cube, thought to be these, are unstated; its PSNR and SSIM are of novel views
from unstated cameras, not of the photo's.

Everything made stays in the folder and is taken up again from there; ``sheet-*.png`` show it. Prints a table and writes
it, with the machine's description, to ``benchmarks/results``. With ``--photos`` there is no truth: the photos of a
folder go the same way, and what fails, how long it takes and how well the photo is met is told. They are outside of
what the demo family knows.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle3d.benchmarks import measure
from bundle3d.benchmarks.held_out import HeldOutObject, held_out_objects, photo_of
from bundle3d.benchmarks.judged_sheet import HEIGHT, Judged, judged_sheet, seen_from
from bundle3d.benchmarks.kept import Kept
from bundle3d.benchmarks.photo_route import (
    LAYOUT,
    PHOTO,
    ROUTES,
    SHOWN_AS,
    Family,
    RouteOptions,
    asset,
    drawn,
    open_family,
    prepared,
)
from bundle3d.benchmarks.true_shape import in_picture, in_place, in_space, normals_in_picture, pictured, untouched_iou
from bundle3d.pipelines.checkpoints.demo_folder import DEMO_FOLDER, DEMO_RECONSTRUCTION_MODEL, MULTIVIEW_DEMO_FOLDER
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.multiview.view_grid import named_grid
from bundle3d.pipelines.photo.frame import Framed
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.base import BaseFiles
from bundle3d.pipelines.training.captions import caption
from bundle3d.pipelines.training.dataset import save_image
from bundle3d.pipelines.training.demo_models import TILE
from bundle3d.pipelines.training.same_run import require_same_run
from bundle3d.pipelines.views.camera import Camera
from bundle3d.pipelines.views.rig import named_rig

Row = dict[str, Any]

CONDITIONS = ("one_view", "true_views")
OUTSIDE = "photos are outside of what the demo family knows: this tells whether the way holds, not how good it is"
TARGETS = {
    "one_view": {
        "f_score_median": 0.80,
        "cd_median": 0.12,
        "iou_median": 0.93,
        "psnr_median": 24.0,
        "seconds_largest": 180.0,  # on two processor cores
    },
    "true_views": {"f_score_median": 0.92},
}
LESS_IS_BETTER = ("cd_median", "seconds_largest")
PUBLISHED = {"f_score_mean": 0.769, "cd_mean": 0.149, "psnr_mean": 20.348, "ssim_mean": 0.902}
PUBLISHED_AS = "Kiss3DGen-Base, image to 3D on GSO (CVPR 2025); objects, cameras and threshold differ, see above"
WRONG = {
    **dict.fromkeys(("f_score", "f_score_unaligned", "lrm_f_score", "iou", "untouched_iou"), 0.0),
    **dict.fromkeys(("psnr", "psnr_inside", "ssim"), 0.0),
    **dict.fromkeys(("cd", "cd_unaligned", "lrm_cd"), math.inf),
    "normals": 90.0,
}
# Of the stages those that only the benchmark has.
NOT_THE_USERS = ("photo",)
SIDES = (Camera(120.0, 20.0, 4.5, fov=30.0), Camera(240.0, 20.0, 4.5, fov=30.0))


def object_rows(
    shown: HeldOutObject,
    family: Family,
    options: RouteOptions,
    folder: Path,
    conditions: Sequence[str],
    captioned: bool = True,
) -> tuple[Row, dict[str, Judged]]:
    """All figures of one object, and its entries in the sheets."""
    name = caption(shown.subject)
    prompt = name if captioned else ""
    row: Row = {"object": name, "elevation": round(shown.camera.elevation, 1)}
    sheets = {}
    given = Kept(folder)
    alpha = given.picture("photo", lambda: photo_of(shown, PHOTO))[..., 3]
    for condition in conditions:
        kept = Kept(folder / condition)
        photo = prepared(folder / "photo.png", kept)
        true = pictured(shown.mesh, photo, shown.camera, "shaded")
        row |= {f"truth_{figure}": value for figure, value in in_picture(true, photo).items()}
        drawing: dict[str, Callable[[], torch.Tensor]] = {
            "one_view": lambda: drawn(family, photo, options),  # noqa: B023
            "true_views": lambda: true_views(shown.mesh),
        }
        mesh = None
        try:
            mesh = asset(family, photo, drawing[condition], prompt, options, kept)
            seen = pictured(mesh, photo, shown.camera, SHOWN_AS[options.route])
            early = in_space(read_mesh(kept.folder / "lrm.glb"), shown.mesh)
            camera = named_grid(LAYOUT).rig.cameras[0]
            camera = Camera(0.0, shown.camera.elevation, camera.distance, fov=camera.fov)
            found: Row = {
                **in_space(mesh, shown.mesh),
                **in_place(mesh, shown.mesh),
                **{f"lrm_{figure}": value for figure, value in early.items()},
                **in_picture(seen, photo),
                "untouched_iou": untouched_iou(mesh, camera, alpha),
                "normals": normals_in_picture(seen, true),
                "error": "",
            }
        except Bundle3DError as error:
            found, seen = {**WRONG, "error": str(error)}, None
        row[condition] = {**found, **taken(kept)}
        pictures = sheet_pictures(photo, kept, None if seen is None else seen.rgb[0], mesh, options.route)
        sheets[condition] = Judged(name, pictures, verdicts(found, condition))
        print(line(f"{name} | {condition}", row[condition]), flush=True)
    return row, sheets


def photo_row(path: Path, family: Family, options: RouteOptions, folder: Path) -> tuple[Row, Judged]:
    """What became of a photo."""
    kept = Kept(folder)
    prompt = path.stem.replace("_", " ")
    row: Row = {"photo": path.name}
    try:
        photo = prepared(path, kept)
    except Bundle3DError as error:
        return {**row, "error": str(error)}, Judged(prompt, [torch.ones(HEIGHT, HEIGHT, 3)], [(str(error), False)])
    mesh, seen = None, None
    try:
        mesh = asset(family, photo, lambda: drawn(family, photo, options), prompt, options, kept)
        seen = pictured(mesh, photo, named_grid(LAYOUT).rig[0], SHOWN_AS[options.route])
        row |= {**in_picture(seen, photo), "faces": len(mesh.faces), "error": ""}
    except Bundle3DError as error:
        row["error"] = str(error)
    row |= {"notes": list(photo.notes), **taken(kept)}
    pictures = sheet_pictures(photo, kept, None if seen is None else seen.rgb[0], mesh, options.route)
    print(line(path.name, row), flush=True)
    return row, Judged(prompt, pictures, [(row["error"] or f"{row['seconds']} s", not row["error"])])


def true_views(mesh: Mesh) -> torch.Tensor:
    """The picture that a multi-view model without fault would draw, in the size of the demo model's."""
    return named_grid(LAYOUT).join(render_views(mesh, named_rig("kiss3dgen"), TILE).rgb)


def taken(kept: Kept) -> Row:
    """Seconds and memory of the stages from photo to GLB."""
    stages = {name: figures for name, figures in kept.stages.items() if name not in NOT_THE_USERS}
    return {
        **{name: round(sum(figures[name] for figures in stages.values()), 1) for name in ("seconds", "cpu_seconds")},
        "peak_mb": max((figures["peak_mb"] for figures in stages.values()), default=0),
        "stages": {name: figures["seconds"] for name, figures in stages.items()},
    }


def sheet_pictures(
    photo: Framed, kept: Kept, seen: torch.Tensor | None, mesh: Mesh | None, route: str
) -> list[torch.Tensor]:
    """The photo, the views, the result as the photo shows it and from two sides."""
    white = torch.ones(HEIGHT, HEIGHT, 3)
    drawn_file = kept.folder / "views.png"
    views = [white] * 4
    if drawn_file.is_file():
        views = list(named_grid(LAYOUT).split(kept.picture("views", lambda: white)))
    # In the world of the views' cameras a mesh spans what 4.5 over their distance makes of it.
    larger = None if mesh is None else mesh.with_(vertices=mesh.vertices * (4.5 / named_grid(LAYOUT).rig[0].distance))
    sides = [seen_from(larger, camera, SHOWN_AS[route]) for camera in SIDES]
    return [photo.rgb, *views, white if seen is None else seen, *sides]


def verdicts(found: Row, condition: str) -> list[tuple[str, bool]]:
    """The figures that have a target, and whether they reach it; the error where there is one."""
    if found["error"]:
        return [(found["error"], False)]
    targets = TARGETS["one_view"] | TARGETS[condition]
    told = []
    for name, target in targets.items():
        figure = name.removesuffix("_median")
        if figure in found:
            told.append((f"{figure} {found[figure]}", reaches(name, found[figure], target)))
    return told


def reaches(name: str, value: float, target: float) -> bool:
    return value <= target if name in LESS_IS_BETTER else value >= target


def line(name: str, row: Row) -> str:
    figures = ("f_score", "cd", "lrm_f_score", "iou", "untouched_iou", "psnr", "ssim", "normals")
    told = " ".join(f"{figure} {row[figure]}" for figure in figures if figure in row)
    return f"{name} | {told} | {row['seconds']} s {row['stages']}, {row['peak_mb']} MB {row['error']}"


def summary(rows: list[Row], condition: str) -> Row:
    """Medians and means over all objects, and what their way took."""
    judged = [row[condition] for row in rows]
    found: Row = {"count": len(rows), "failed": sum(bool(row["error"]) for row in judged)}
    for name in WRONG:
        values = [row[name] for row in judged]
        found[f"{name}_median"] = round(float(np.median(values)), 4)
        found[f"{name}_mean"] = round(float(np.mean(values)), 4)
    for name in ("truth_iou", "truth_psnr"):
        found[f"{name}_median"] = round(float(np.median([row[name] for row in rows])), 4)
    return found | costs(judged)


def costs(rows: list[Row]) -> Row:
    """Seconds by stage, their medians, and of the whole way; the largest peak."""
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    return {
        **{
            f"{name}_median": round(float(np.median([row[name] for row in rows])), 1)
            for name in ("seconds", "cpu_seconds")
        },
        "seconds_largest": max(row["seconds"] for row in rows),
        "stage_seconds_median": {
            name: round(float(np.median([row["stages"][name] for row in rows if name in row["stages"]])), 2)
            for name in names
        },
        "peak_mb_largest": max(row["peak_mb"] for row in rows),
    }


def table(found: dict[str, Row]) -> str:
    """A markdown table: a line per figure, a column per condition, the targets and the published figures."""
    lines = ["| figure | " + " | ".join(found) + " | target | Kiss3DGen |", "|---" * (len(found) + 3) + "|"]
    for name in next(iter(found.values())):
        values = [str(one.get(name, "")) for one in found.values()]
        wanted = " / ".join(str(TARGETS[condition].get(name, "")) for condition in found).strip(" /")
        lines.append(f"| {name} | " + " | ".join(values) + f" | {wanted} | {PUBLISHED.get(name, '')} |")
    return "\n".join(lines)


def judge_objects(given: argparse.Namespace, family: Family, options: RouteOptions, settings: Row) -> None:
    conditions = CONDITIONS if given.views == "both" else (given.views,)
    rows: list[Row] = []
    sheets: dict[str, list[Judged]] = {condition: [] for condition in conditions}
    for index, shown in enumerate(held_out_objects(given.count, given.seed, given.varied)):
        row, entries = object_rows(
            shown, family, options, given.keep / f"{index:02d}", conditions, not given.uncaptioned
        )
        rows.append(row)
        for condition, entry in entries.items():
            sheets[condition].append(entry)
    for condition, judged in sheets.items():
        save_image(judged_sheet(judged, 2), given.keep / f"sheet-{condition}.png")
    found = {condition: summary(rows, condition) for condition in conditions}
    print(table(found))
    for condition in conditions:
        for name, target in TARGETS[condition].items():
            value = found[condition][name]
            verdict = "reaches" if reaches(name, value, target) else "MISSES"
            print(f"{condition} {name}: {value} {verdict} {target}")
    if given.count >= 40:
        published = {"source": PUBLISHED_AS, **PUBLISHED}
        name = "image_to_3d" if given.route == "isomer" else f"image_to_3d-{given.route}"
        print(measure.write(name, rows, settings=settings, summary=found, targets=TARGETS, published=published))


def judge_photos(given: argparse.Namespace, family: Family, options: RouteOptions, settings: Row) -> None:
    rows, sheet = [], []
    for path in sorted(path for path in given.photos.iterdir() if path.is_file()):
        row, entry = photo_row(path, family, options, given.keep / path.name)
        rows.append(row)
        sheet.append(entry)
    if not rows:
        raise Bundle3DError(f"Expected photos in {given.photos}, but there are none; choose another folder.")
    save_image(judged_sheet(sheet, 1), given.keep / "sheet-photos.png")
    through = [row for row in rows if not row["error"]]
    found = {"count": len(rows), "failed": len(rows) - len(through), **(costs(through) if through else {})}
    print(json.dumps(found, indent=2), OUTSIDE, sep="\n")
    print(measure.write("image_to_3d-photos", rows, settings=settings, summary=found, note=OUTSIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder for everything made, and the sheets")
    parser.add_argument("--multiview", type=Path, default=MULTIVIEW_DEMO_FOLDER, help="Zero123++ folder")
    parser.add_argument("--reconstruction", type=Path, default=DEMO_RECONSTRUCTION_MODEL, help="reconstruction model")
    parser.add_argument("--bundles", type=Path, default=DEMO_FOLDER, help="FLUX folder, for --route full")
    parser.add_argument("--photos", type=Path, help="take the photos in this folder, not held-out objects")
    parser.add_argument("--count", type=int, default=40, help="objects; results are written for 40 or more")
    parser.add_argument("--views", choices=("both", *CONDITIONS), default="both")
    parser.add_argument("--varied", action="store_true", help="photos from all elevations that training had, not 5")
    parser.add_argument("--uncaptioned", action="store_true", help="no words for --route full")
    parser.add_argument("--device", default="cpu", help="where the networks compute")
    for option in fields(RouteOptions):
        choices = ROUTES if option.name == "route" else None
        kind = type(option.default)
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=kind, default=option.default, choices=choices)
    given = parser.parse_args()
    options = RouteOptions(**{option.name: getattr(given, option.name) for option in fields(RouteOptions)})
    bundles = given.bundles if options.route == "full" else None
    models = [path for path in (given.multiview, given.reconstruction, bundles) if path is not None]
    settings: Row = {
        **vars(options),
        "varied": given.varied,
        "uncaptioned": given.uncaptioned,
        "photos": given.photos is not None,
        "count": given.count,  # which objects there are depends on it
        "device": given.device,
        "models": [BaseFiles(path).stamp() for path in models],
    }
    require_same_run(given.keep / "settings.json", settings)
    start = time.perf_counter()
    family = open_family(given.multiview, given.reconstruction, bundles, torch.device(given.device))
    settings["load_seconds"] = round(time.perf_counter() - start, 2)
    judge = judge_objects if given.photos is None else judge_photos
    judge(given, family, options, settings)


if __name__ == "__main__":
    main()
