"""How well held-out prompts become 3D: drawn, reconstructed, and judged against the shape that each prompt names.

    python benchmarks/text_to_3d.py --keep FOLDER [--models FOLDER] [--validate] [--seed N] [--count N]

Subjects are those that training never sees. Each bundle is drawn, brought to 8 bits and reconstructed, and then judged:

shape: the procedural shape that fits the mesh best; a stack counts where both parts are right (``shape_judge``).
color: mean albedo of each part as the prompt's shapes lie on the mesh, nearest of the ten (``color_judge``).
hull_iou: overlap of the silhouettes with the reprojected visual hull, mean of the views.
f_score at 0.1 and Chamfer distance cd against the prompt's true shape, both in a cube [-1, 1]^3, after 24 turns about
the up axis and similarity ICP (specs/field.md 4.4).

A bundle that cannot be reconstructed counts as wrong everywhere. ``--validate`` judges the judge: the same on renders
of the true objects, with the variation that training saw. Bundles and reconstructions stay in FOLDER and are taken up
again from there; ``sheet.png`` shows them all. Prints a table and writes it, with the machine's description, to
``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle3d.benchmarks import measure
from bundle3d.benchmarks.color_judge import mean_albedo, nearest_color
from bundle3d.benchmarks.judged_sheet import Judged, judged_sheet, seen_from
from bundle3d.benchmarks.kept import Kept
from bundle3d.benchmarks.shape_judge import fit_shapes, recognise
from bundle3d.benchmarks.true_shape import in_space
from bundle3d.pipelines.checkpoints.demo_folder import DEMO_FOLDER
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.reconstruct import IsomerOptions, reconstruct
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.base import BaseFiles, native_tile, open_base
from bundle3d.pipelines.training.captions import caption, held_out_subjects
from bundle3d.pipelines.training.dataset import save_image
from bundle3d.pipelines.training.same_run import require_same_run
from bundle3d.pipelines.training.shapes import Subject, build
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.hull_rays import trace_hull
from bundle3d.pipelines.views.rig import named_rig

Draw = Callable[[Subject, int], torch.Tensor]

SETTINGS = "settings.json"
TARGETS = {"shape_right": 0.9, "color_right": 0.9, "hull_iou_mean": 0.93, "f_score_median": 0.85}
JUDGE_TARGET = 0.98  # of shapes and of colours


def drawer(models: Path, seed: int, steps: int, guidance: float) -> Draw:
    """Bundles by the model family in the folder ``models``, each prompt with a seed of its own."""
    family = open_base(BaseFiles(models), torch.device("cpu"), torch.float32)
    tile = native_tile(models)

    def draw(subject: Subject, index: int) -> torch.Tensor:
        request = BundleRequest(caption(subject), 2 * tile, 4 * tile, steps, guidance, seed + index)
        return draw_bundle(family, request)

    return draw


def renderer(tile: int, seed: int) -> Draw:
    """Bundles of the true objects, varied as in training."""

    def draw(subject: Subject, index: int) -> torch.Tensor:
        mesh = build(subject, np.random.default_rng((seed, 2, index)))
        return join_bundle(render_views(mesh, named_rig("kiss3dgen"), tile))

    return draw


def judge(subject: Subject, bundle: torch.Tensor, mesh: Mesh) -> dict[str, Any]:
    """What the reconstruction ``mesh`` of ``bundle`` (H, W, 3) is, and how near to what it should be."""
    shapes, colors = (tuple(getattr(part, name) for part in subject.parts) for name in ("shape", "color"))
    best, *others = recognise(mesh)
    other = next((fit for fit in others if fit.template.shapes != best.template.shapes), None)
    part = torch.from_numpy(fit_shapes(mesh, shapes).part_of(mesh.vertices[mesh.faces].mean(1).double().numpy()))
    found = tuple(nearest_color(mean_albedo(mesh, part == index)) for index in range(len(shapes)))
    return {
        "shape": " on ".join(best.template.shapes),
        "shape_right": best.template.shapes == shapes,
        "distance": round(best.distance, 3),
        "second": "none" if other is None else " on ".join(other.template.shapes),
        "second_distance": math.inf if other is None else round(other.distance, 3),
        "color": " on ".join(found),
        "color_right": found == colors,
        "hull_iou": round(float(trace_hull(split_bundle(bundle)).iou.mean()), 4),
        **in_space(mesh, build(subject)),
        "error": "",
    }


def failed(error: Bundle3DError) -> dict[str, Any]:
    """The row of a bundle that shows no object."""
    nothing = {"shape": "none", "shape_right": False, "distance": math.inf, "second": "none"}
    wrong = {"second_distance": math.inf, "color": "none", "color_right": False, "hull_iou": 0.0, "f_score": 0.0}
    return {**nothing, **wrong, "cd": math.inf, "error": str(error)}


def run(subjects: list[Subject], draw: Draw, options: IsomerOptions, folder: Path) -> list[dict[str, Any]]:
    """A row for each subject, and the contact sheet of all."""
    rows, shown = [], []
    for index, subject in enumerate(subjects):
        prompt = caption(subject)
        kept = Kept(folder / f"{index:02d}")
        bundle = kept.picture("draw", lambda: draw(subject, index))  # noqa: B023
        mesh = None
        try:
            mesh = kept.mesh("reconstruct", lambda: reconstruct(split_bundle(bundle), options).mesh)  # noqa: B023
            verdict = judge(subject, bundle, mesh)
        except Bundle3DError as error:
            verdict = failed(error)
        seconds = {f"{stage}_seconds": figures["seconds"] for stage, figures in kept.stages.items()}
        rows.append({"prompt": prompt, **verdict, "reconstruct_seconds": 0.0, **seconds})
        verdicts = [_told(rows[-1], "shape"), _told(rows[-1], "color")]
        shown.append(Judged(prompt, [bundle, seen_from(mesh)], verdicts))
        print(_line(rows[-1]), flush=True)
    save_image(judged_sheet(shown), folder / "sheet.png")
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares, means and medians over all rows, and what was taken for what."""
    wrong = Counter(f"{row['prompt']}: {row['shape']}" for row in rows if not row["shape_right"])
    colors = Counter(f"{row['prompt']}: {row['color']}" for row in rows if not row["color_right"])
    ratios = [row["second_distance"] / row["distance"] for row in rows if row["shape_right"]]
    return {
        "count": len(rows),
        **{name: round(float(np.mean([row[name] for row in rows])), 4) for name in ("shape_right", "color_right")},
        "hull_iou_mean": round(float(np.mean([row["hull_iou"] for row in rows])), 4),
        "f_score_median": round(float(np.median([row["f_score"] for row in rows])), 4),
        "cd_median": round(float(np.median([row["cd"] for row in rows])), 4),
        "draw_seconds_median": float(np.median([row["draw_seconds"] for row in rows])),
        "reconstruct_seconds_median": float(np.median([row["reconstruct_seconds"] for row in rows])),
        "least_margin": round(min(ratios), 3) if ratios else None,
        "shapes_wrong": sorted(wrong),
        "colors_wrong": sorted(colors),
    }


def _told(row: dict[str, Any], kind: str) -> tuple[str, bool]:
    return row[kind], row[f"{kind}_right"]


def _line(row: dict[str, Any]) -> str:
    marks = "".join("+" if row[f"{kind}_right"] else "-" for kind in ("shape", "color"))
    return (
        f"{marks} {row['prompt']} | {row['shape']} {row['distance']} (then {row['second']} {row['second_distance']}) | "
        f"{row['color']} | hull {row['hull_iou']} F {row['f_score']} CD {row['cd']} | "
        f"{row['draw_seconds']} + {row['reconstruct_seconds']} s {row['error']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder for bundles, reconstructions and the sheet")
    parser.add_argument("--models", type=Path, default=DEMO_FOLDER, help="diffusers folder (default: the demo family)")
    parser.add_argument("--validate", action="store_true", help="judge renders of the true objects instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60, help="prompts; results are written for 60 or more")
    parser.add_argument("--steps", type=int, default=BundleRequest.steps)
    parser.add_argument("--guidance", type=float, default=BundleRequest.guidance)
    parser.add_argument("--tile", type=int, default=128, help="pixels of a view, of --validate")
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--integration-steps", type=int, default=10)
    parser.add_argument("--stage-two-steps", type=int, default=20)
    given = parser.parse_args()
    options = IsomerOptions(
        faces=given.faces, integration_steps=given.integration_steps, stage_two_steps=given.stage_two_steps
    )
    settings: dict[str, Any] = {"seed": given.seed, "isomer": vars(options)}
    if given.validate:
        settings |= {"bundles": "rendered", "tile": given.tile}
        draw = renderer(given.tile, given.seed)
    else:
        settings |= {"bundles": BaseFiles(given.models).stamp(), "steps": given.steps, "guidance": given.guidance}
        draw = drawer(given.models, given.seed, given.steps, given.guidance)
    require_same_run(given.keep / SETTINGS, settings)
    rows = run(held_out_subjects(given.count), draw, options, given.keep)
    found = summary(rows)
    print(json.dumps(found, indent=2))
    targets = {"shape_right": JUDGE_TARGET, "color_right": JUDGE_TARGET} if given.validate else TARGETS
    for name, target in targets.items():
        print(f"{name}: {found[name]} {'reaches' if found[name] >= target else 'MISSES'} {target}")
    if given.count >= 60:
        name = "text_to_3d-judge" if given.validate else "text_to_3d"
        print(measure.write(name, rows, settings=settings, summary=found, targets=targets))


if __name__ == "__main__":
    main()
