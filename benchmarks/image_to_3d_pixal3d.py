"""How well Pixal3D's demo models make objects that training never saw, from one, two and four views.

    python benchmarks/image_to_3d_pixal3d.py --keep FOLDER [--models FOLDER] [--count 40] [--conditions one two ...]

Objects are procedural, of subjects and from random numbers that no training of the demo models has (``held_out``), and
stand within a rig of four views as those of bundles do. ``one`` shows the front, ``two`` front and left, ``four`` all
sides, by their known cameras. ``photo`` crops a picture of 512 pixels of the front as a user's photo is
cropped, with a known field of view. ``global`` is ``one`` without lifted features: the weights that bring them into the
flows are zero, so that only the tokens of the whole picture are left.

f_score at 0.1 and Chamfer distance cd against the true object in a cube [-1, 1]^3, after 24 turns about the up axis and
similarity ICP (specs/field.md 4.4); in_place_cd: in the cube of the models, nothing turned or fitted, which ``photo``
lacks, as its crop decides on the size.
iou: silhouette of the GLB in the first picture's camera against that picture's; psnr: inside it, of the base colour
against the picture.
seconds and peak_mb: from pictures to the finished mesh, on the cores that the command has.
An object that cannot be made counts as wrong everywhere.

Everything made stays in the folder and is taken up again from there; ``sheet.png`` shows it. Prints a table and writes
it, with the machine's description, to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle3d.benchmarks import measure
from bundle3d.benchmarks.judged_sheet import Judged, judged_sheet, seen_from
from bundle3d.benchmarks.kept import Kept
from bundle3d.benchmarks.true_shape import in_space
from bundle3d.pipelines.checkpoints.demo_folder import DEMO_PIXAL3D_FOLDER
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.metrics.geometry import compare_meshes
from bundle3d.pipelines.pixal3d.draw import VoxelRequest, draw_voxels
from bundle3d.pipelines.pixal3d.finish.asset import finish_asset
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.pixal3d.flow_transformer import FlowTransformer
from bundle3d.pipelines.pixal3d.load import held, load_decoders, load_flows
from bundle3d.pipelines.pixal3d.load_pictures import load_feature_upsampler, load_image_encoder
from bundle3d.pipelines.pixal3d.models import PictureModels, Pixal3DModels, StageModel
from bundle3d.pipelines.pixal3d.pictured_object import PicturedObject, asset_alignment, pictured_photo, pictured_views
from bundle3d.pipelines.pixal3d.prepare import crop_on_black
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.base import BaseFiles
from bundle3d.pipelines.training.captions import caption, held_out_subjects
from bundle3d.pipelines.training.dataset import save_image
from bundle3d.pipelines.training.demo_pixal3d_models import PICTURE_FILE
from bundle3d.pipelines.training.placed_objects import PlacedObject, surrounded
from bundle3d.pipelines.training.same_run import require_same_run
from bundle3d.pipelines.training.shapes import build
from bundle3d.pipelines.views.masks import unmix_white
from bundle3d.pipelines.views.rig import Rig

Row = dict[str, Any]

STREAM = 6  # of random numbers, which no training takes
VIEWS = {"one": (0,), "two": (0, 1), "four": (0, 1, 2, 3), "global": (0,)}
CONDITIONS = ("photo", *VIEWS)
TILE, PHOTO = 256, 512
LEAST_IOU, LEAST_F_SCORE = 0.95, 0.85
MOST_GROWTH = 1.02  # of the Chamfer distance when there are more views
WRONG: Row = {"f_score": 0.0, "cd": math.inf, "in_place_cd": math.inf, "iou": 0.0, "psnr": 0.0}
OPTIONS = FinishOptions(faces=20_000, texture=512)


def held_out_placed(count: int, seed: int = 0) -> list[tuple[str, PlacedObject]]:
    """Captions and objects within rigs of four views."""
    found = []
    for index, subject in enumerate(held_out_subjects(count)):
        numbers = np.random.default_rng((seed, STREAM, index))
        found.append((caption(subject), surrounded(build(subject, numbers), numbers)))
    return found


def shown(placed: PlacedObject, condition: str) -> PicturedObject:
    """What the models are given of an object."""
    if condition == "photo":
        camera = placed.rig[0]
        assert camera.fov is not None
        seen = render_views(placed.mesh, Rig((camera,)), PHOTO)
        rgb, alpha = crop_on_black(unmix_white(seen.rgb, seen.mask)[0], seen.mask[0]), seen.mask[0]
        mask = crop_on_black(alpha[..., None].expand(-1, -1, 3).contiguous(), alpha)[..., 0]
        angle = 2.0 * math.atan(math.tan(math.radians(camera.fov) / 2.0) * rgb.shape[0] / PHOTO)
        return pictured_photo(rgb, (mask > 0.5).float(), angle)
    views = render_views(placed.mesh, Rig(tuple(placed.rig[index] for index in VIEWS[condition])), TILE)
    return pictured_views(views, torch.eye(4, dtype=torch.float64))


def without_lifting(models: Pixal3DModels) -> Pixal3DModels:
    """The same models, blind to what pictures show at a voxel."""

    def blind(stage: StageModel) -> StageModel:
        flow = copy.deepcopy(stage.flow.module)
        assert isinstance(flow, FlowTransformer)
        with torch.no_grad():
            for name, weight in flow.named_parameters():
                if "proj_linear" in name:
                    weight.zero_()
        return replace(stage, flow=Resident(flow))

    assert models.texture is not None
    return replace(models, structure=blind(models.structure), shape=blind(models.shape), texture=blind(models.texture))


def made(models: Pixal3DModels, item: PicturedObject, seed: int) -> Mesh:
    """The asset in the frame of the first camera."""
    drawn = draw_voxels(models, [item.pictures], VoxelRequest(seed))
    material = None if drawn.material is None else drawn.material.features
    return finish_asset(drawn.shape.grids[0], material, OPTIONS, outline=item.outline())


def judged(mesh: Mesh, placed: PlacedObject, item: PicturedObject, condition: str) -> Row:
    """The figures of one result."""
    truth = placed.grid_mesh()
    truth = truth.with_(vertices=2.0 * truth.vertices)
    aligned = asset_alignment(mesh, item, OPTIONS)
    row: Row = {**in_space(mesh, truth), "iou": round(aligned.silhouette_iou, 4), "psnr": round(aligned.psnr, 2)}
    if condition != "photo":
        row["in_place_cd"] = round(compare_meshes(mesh, truth).chamfer, 4)
    return row


def object_row(
    models: dict[bool, Pixal3DModels], name: str, placed: PlacedObject, conditions: list[str], folder: Path, seed: int
) -> tuple[Row, Judged]:
    row: Row = {"object": name}
    pictures, verdicts = [], []
    for condition in conditions:
        kept = Kept(folder / condition)
        item = shown(placed, condition)
        if not pictures:
            pictures.append(item.pictures.images[0])
        try:
            mesh = kept.mesh("asset", lambda: made(models[condition == "global"], item, seed))  # noqa: B023
            found = {**judged(mesh, placed, item, condition), "error": ""}
            pictures.append(seen_from(mesh))
        except Bundle3DError as error:
            found = {name: worst for name, worst in WRONG.items() if condition != "photo" or name != "in_place_cd"}
            found["error"] = str(error)
            pictures.append(seen_from(None))
        row[condition] = {**found, **kept.stages.get("asset", {})}
        verdicts.append((f"{condition} F {found['f_score']} IoU {found['iou']}", found["f_score"] >= LEAST_F_SCORE))
        print(name, condition, row[condition], flush=True)
    return row, Judged(name, pictures, verdicts)


def summary(rows: list[Row], condition: str) -> Row:
    """Medians and means of a condition over all objects."""
    own = [row[condition] for row in rows]
    found: Row = {"failed": sum(bool(row["error"]) for row in own)}
    for figure in WRONG:
        values = [row[figure] for row in own if figure in row]
        if values:
            found[f"{figure}_median"] = round(float(np.median(values)), 4)
            found[f"{figure}_mean"] = round(float(np.mean(values)), 4)
            found[f"{figure}_worst"] = max(values) if figure.endswith("cd") else min(values)
    for figure, places in (("seconds", 1), ("peak_mb", 0)):
        values = [row[figure] for row in own if figure in row]
        if values:
            found[f"{figure}_median"] = round(float(np.median(values)), places)
            found[f"{figure}_largest"] = max(values)
    return found


def table(found: dict[str, Row]) -> str:
    lines = ["| figure | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in next(iter(found.values())):
        lines.append(f"| {name} | " + " | ".join(str(one.get(name, "")) for one in found.values()) + " |")
    return "\n".join(lines)


def verdicts(found: dict[str, Row]) -> list[str]:
    """What is asked of the figures, and whether they reach it."""
    told = []
    for condition in ("photo", "one"):
        if condition in found:
            for figure, least in (("iou_median", LEAST_IOU), ("f_score_median", LEAST_F_SCORE)):
                value = found[condition][figure]
                told.append(f"{condition} {figure}: {value} {'reaches' if value >= least else 'MISSES'} {least}")
    counted = [name for name in ("one", "two", "four") if name in found]
    for fewer, more in itertools.pairwise(counted):
        for figure in ("cd_median", "cd_mean"):
            growth = found[more][figure] / found[fewer][figure]
            verdict = "reaches" if growth <= MOST_GROWTH else "MISSES"
            told.append(f"{figure} of {more} views over {fewer}: {growth:.3f} {verdict} {MOST_GROWTH}")
    return told


def load(folder: Path) -> Pixal3DModels:
    pictures = load_image_encoder(folder / PICTURE_FILE), load_feature_upsampler(folder / PICTURE_FILE)
    readers = PictureModels(*(Resident(network.float()) for network in pictures))
    flows, decoders = load_flows(folder, torch.float32), load_decoders(folder, dtype=torch.float32)
    return held(flows, decoders, readers, Resident, Resident)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder for everything made, and the sheet")
    parser.add_argument("--models", type=Path, default=DEMO_PIXAL3D_FOLDER, help="folder of Pixal3D")
    parser.add_argument("--count", type=int, default=40, help="objects; results are written for 40 or more")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    settings: Row = {"count": given.count, "seed": given.seed, "models": BaseFiles(given.models).stamp()}
    require_same_run(given.keep / "settings.json", settings)
    full = load(given.models)
    models = {False: full, True: without_lifting(full)}
    rows, sheet = [], []
    for index, (name, placed) in enumerate(held_out_placed(given.count)):
        row, entry = object_row(models, name, placed, given.conditions, given.keep / f"{index:02d}", given.seed)
        rows.append(row)
        sheet.append(entry)
    save_image(judged_sheet(sheet, 2), given.keep / "sheet.png")
    found = {condition: summary(rows, condition) for condition in given.conditions}
    print(table(found), *verdicts(found), sep="\n")
    if given.count >= 40:
        targets = {"iou_median": LEAST_IOU, "f_score_median": LEAST_F_SCORE, "cd_growth": MOST_GROWTH}
        print(measure.write("image_to_3d_pixal3d", rows, settings=settings, summary=found, targets=targets))


if __name__ == "__main__":
    main()
