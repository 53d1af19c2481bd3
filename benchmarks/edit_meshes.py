"""How well meshes become what a prompt asks for, and how much of them stays.

    python benchmarks/edit_meshes.py --keep FOLDER [--meshes FOLDER] [--shape 0.5] [--look 0.5] [--seed N]

Ten solids with a coloured, uneven texture are asked for in another colour, with the preset "edit" of Keep Shape and
Look. Each is rendered, drawn by the demo models and their ControlNet, brought to 8 bits, and edited in the mode
"texture" and in the mode "geometry and texture". Judged are

color: mean base colour as six views show it, nearest of the ten (``color_judge``).
f_score at 0.1 of the result with new geometry against the original, in a cube [-1, 1]^3 (specs/field.md 4.4).
overlap: of the drawn outlines and the mesh's, the mean of the views.
seams: colour step at texture seams after, over that before; a mean below one level of 8 bits, which nobody sees, counts
as one.

``--meshes`` brings every GLB of a folder through the presets "enhance" and "edit", whatever the models make of it, and
checks what must stay: the result loads and is valid, place, scale, units and names are the same, and so is the geometry
in the mode "texture". Bundles and meshes stay in FOLDER and are taken up again from there; ``sheet.png`` shows them.
Prints tables and writes them, with the machine's description, to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bundle3d.benchmarks import measure
from bundle3d.benchmarks.color_judge import nearest_color
from bundle3d.benchmarks.judged_sheet import Judged, judged_sheet, seen_from
from bundle3d.benchmarks.kept import Kept
from bundle3d.pipelines.checkpoints.demo_folder import CONTROLNET_DEMO_FOLDER, DEMO_FOLDER
from bundle3d.pipelines.diffusion.control import Control
from bundle3d.pipelines.diffusion.draw import BundleRequest, draw_bundle
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.diffusion.keep import kept
from bundle3d.pipelines.diffusion.loading.controlnet import controlnet_modes, load_controlnet
from bundle3d.pipelines.diffusion.models import ControlNet
from bundle3d.pipelines.editing.edit_mesh import GEOMETRY, TEXTURE, MeshEdit, edit_mesh
from bundle3d.pipelines.editing.studio_light import without_studio_light
from bundle3d.pipelines.editing.texture import TextureOptions
from bundle3d.pipelines.isomer.reconstruct import IsomerOptions, reconstruct
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.meshes.padding import pad_texture
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.metrics.geometry import compare_meshes
from bundle3d.pipelines.metrics.image import silhouette_iou
from bundle3d.pipelines.rendering.color import srgb_to_linear
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.texturing.texel_map import rasterise_uv
from bundle3d.pipelines.texturing.unwrap import unwrap
from bundle3d.pipelines.training.base import BaseFiles, native_tile, open_base
from bundle3d.pipelines.training.captions import caption
from bundle3d.pipelines.training.dataset import save_image
from bundle3d.pipelines.training.shapes import COLORS, Part, Subject, build
from bundle3d.pipelines.views.bundle import join_bundle, split_bundle
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.support.gltf import NODE_FOLDER, SCRIPT, node_executable

Draw = Callable[[str, str, torch.Tensor, int], torch.Tensor]

RIG, ALL_AROUND = named_rig("kiss3dgen"), named_rig("cube6")
# Shape, colour and the colour that is asked for.
CASES = (
    ("torus", "red", "blue"),
    ("cube", "yellow", "green"),
    ("sphere", "blue", "orange"),
    ("cone", "green", "purple"),
    ("cylinder", "orange", "cyan"),
    ("star", "cyan", "red"),
    ("heart", "pink", "blue"),
    ("octahedron", "purple", "yellow"),
    ("dome", "grey", "pink"),
    ("capsule", "brown", "green"),
)
TEXTURE_SIZE, UNEVEN = 256, 0.06
LEVEL = 1.0 / 255.0
ISOMER = IsomerOptions(faces=6000, integration_steps=10, stage_two_steps=20)
TARGETS = {"color_right": 0.9, "f_score_least": 0.97, "seams_most": 1.5}


def drawer(seed: int, shape: float, look: float) -> Draw:
    """Bundles redrawn by the demo models, of a preset and a prompt, each with a seed of its own."""
    family = open_base(BaseFiles(DEMO_FOLDER), torch.device("cpu"), torch.float32)
    network = load_controlnet(CONTROLNET_DEMO_FOLDER, torch.float32)
    net = ControlNet(Resident(network), controlnet_modes(CONTROLNET_DEMO_FOLDER, network))

    def draw(preset: str, prompt: str, bundle: torch.Tensor, index: int) -> torch.Tensor:
        values = kept(preset, shape, look)
        controls = tuple(
            Control(bundle, net, hold.mode, hold.scale, end=hold.end, make_map=True)
            for hold in (*values.shape, *values.look)
        )
        height, width = bundle.shape[:2]
        return draw_bundle(
            family,
            BundleRequest(
                prompt,
                height,
                width,
                seed=seed + index,
                initial_image=bundle,
                strength=values.strength,
                controls=controls,
            ),
        )

    return draw


def solid(shape: str, color: str) -> Mesh:
    """A procedural solid with a texture that is a little uneven."""
    flat = unwrap(build(Subject((Part(shape, color),))).with_(colors=None), TEXTURE_SIZE)[0]
    texels = rasterise_uv(flat, TEXTURE_SIZE)
    points = texels.interpolate(flat.vertices, flat.faces)
    colors = torch.tensor(COLORS[color]) + UNEVEN * torch.sin(points * 9.0 + torch.tensor((0.0, 1.0, 2.0)))
    image = torch.zeros(TEXTURE_SIZE, TEXTURE_SIZE, 3, dtype=torch.uint8)
    image[texels.mask] = (colors.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    paint = Material("paint", base_color_texture=pad_texture(image, texels.mask), repeat=False)
    return flat.with_(materials=(paint,), name=f"{color} {shape}")


def judged_case(case: tuple[str, str, str], index: int, draw: Draw, folder: Path) -> tuple[dict[str, Any], Judged]:
    """The row of one case, and what it looks like."""
    shape, color, wanted = case
    mesh, files = solid(shape, color), Kept(folder / f"{index:02d}")
    prompt, was = (caption(Subject((Part(shape, name),))) for name in (wanted, color))
    views = render_views(mesh, RIG, native_tile(DEMO_FOLDER), "matte")
    drawn = files.picture("draw", lambda: draw("edit", prompt, join_bundle(views), index))
    after = split_bundle(drawn, RIG)
    textured = edited(mesh, views, after, TEXTURE)
    files.mesh("texture", lambda: textured.mesh)
    target = files.mesh("reconstruct", lambda: reconstruct(after, ISOMER, mesh).mesh)
    bent = edited(mesh, views, after, GEOMETRY, target)
    files.mesh("geometry", lambda: bent.mesh)
    found = nearest_color(mean_color(textured.mesh))
    before, now = textured.seams
    row = {
        "prompt": f"{prompt} of {was}",
        "color": found,
        "color_right": found == wanted,
        "f_score": round(compare_meshes(normalise(bent.mesh), normalise(mesh)).f_score[0.1], 4),
        "moved": bent.shape.moved,
        "overlap": round(float(silhouette_iou(views.mask, after.mask).mean()), 4),
        "seam_step": [None if step is None else round(step, 5) for step in textured.seams],
        "seams": None if before is None or now is None else round(max(now, LEVEL) / max(before, LEVEL), 3),
        **{f"{stage}_seconds": figures["seconds"] for stage, figures in files.stages.items()},
    }
    pictures = [join_bundle(views), drawn, *(seen_from(item) for item in (mesh, textured.mesh, bent.mesh))]
    verdicts = [(found, row["color_right"]), (f"F {row['f_score']}", row["f_score"] >= TARGETS["f_score_least"])]
    return row, Judged(row["prompt"], pictures, verdicts)


def edited(
    mesh: Mesh,
    before: ViewSet,
    after: ViewSet,
    mode: str,
    target: Mesh | None = None,
    place: torch.Tensor | None = None,
) -> MeshEdit:
    """``mesh`` as Edit Mesh changes it with the light "matte"."""
    options = TextureOptions(new_uv=True)
    old, new = (without_studio_light(views) for views in (before, after))
    return edit_mesh(mesh, old, new, mode, target=target, options=options, transform=place)


def mean_color(mesh: Mesh) -> np.ndarray:
    """Linear base colour (3,), the mean of what six views show."""
    shown = render_views(normalise(mesh), ALL_AROUND, 96, "unlit")
    mean: np.ndarray = srgb_to_linear(shown.rgb[shown.mask == 1.0]).mean(0).double().numpy()
    return mean


def judged_file(path: Path, preset: str, index: int, draw: Draw, folder: Path) -> tuple[dict[str, Any], Judged]:
    """What stays of a mesh file that is enhanced or edited."""
    mesh, files = read_mesh(path), Kept(folder / f"{path.stem}-{preset}")
    placed = normalise(mesh)
    views = render_views(placed, RIG, native_tile(DEMO_FOLDER), "matte")
    drawn = files.picture("draw", lambda: draw(preset, "a 3D model of a toy", join_bundle(views), index))
    edit = files.measured(
        "edit", lambda: edited(mesh, views, split_bundle(drawn, RIG), TEXTURE, place=placed.transform)
    )
    result = edit.mesh
    again = files.mesh("texture", lambda: result)
    same = {
        name: torch.equal(getattr(mesh, name), getattr(result, name)) for name in ("vertices", "faces", "transform")
    }
    first, second = ((item.vertices.double() @ item.transform[:3, :3].T).amax(0) for item in (mesh, again))
    errors = gltf_errors(files.folder / "texture.glb")
    row = {
        "file": path.name,
        "preset": preset,
        "vertices": len(mesh.vertices),
        "added_vertices": len(result.vertices) - len(mesh.vertices),
        "texels_changed": sum(texture.changed for texture in edit.colors),
        "surface_same": torch.equal(mesh.vertices[mesh.faces], result.vertices[result.faces]),
        **{f"{name}_same": is_same for name, is_same in same.items()},
        "names_same": (mesh.name, mesh.units) == (result.name, result.units) == (again.name, again.units),
        "size_same": bool(torch.allclose(first, second, rtol=1e-5)),
        "validator_errors": errors,
        **{f"{stage}_seconds": figures["seconds"] for stage, figures in files.stages.items()},
    }
    right = row["surface_same"] and row["names_same"] and row["size_same"] and not errors
    pictures = [join_bundle(views), drawn, *(seen_from(normalise(item)) for item in (mesh, result))]
    return row, Judged(f"{path.stem[:12]}, {preset}", pictures, [("kept" if right else "changed", bool(right))])


def gltf_errors(path: Path) -> int:
    """How many errors the Khronos validator finds in a GLB."""
    command = [node_executable(), str(SCRIPT), str(NODE_FOLDER), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return int(json.loads(done.stdout)["issues"]["numErrors"])


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures that have targets, and what was taken for what."""
    ratios = [row["seams"] for row in rows if row["seams"] is not None]
    return {
        "count": len(rows),
        "color_right": float(np.mean([row["color_right"] for row in rows])),
        "colors_wrong": [f"{row['prompt']}: {row['color']}" for row in rows if not row["color_right"]],
        "f_score_least": min(row["f_score"] for row in rows),
        "overlap_mean": round(float(np.mean([row["overlap"] for row in rows])), 4),
        "seams_most": max(ratios, default=0.0),
        "draw_seconds_median": float(np.median([row["draw_seconds"] for row in rows])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder for bundles, meshes and the sheet")
    parser.add_argument("--meshes", type=Path, help="folder of GLB files to enhance and edit")
    parser.add_argument("--shape", type=float, default=0.5, help="the slider keep_shape")
    parser.add_argument("--look", type=float, default=0.5, help="the slider keep_look")
    parser.add_argument("--file-look", type=float, default=0.9, help="the same for --meshes, which the models know not")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = drawer(given.seed, given.shape, given.look)
    rows, shown = [], []
    for index, case in enumerate(CASES):
        row, picture = judged_case(case, index, draw, given.keep)
        rows.append(row)
        shown.append(picture)
        print(json.dumps(row), flush=True)
    files: list[dict[str, Any]] = []
    draw = drawer(given.seed, given.shape, given.file_look)
    for path in sorted(given.meshes.glob("*.glb")) if given.meshes else ():
        for index, preset in enumerate(("enhance", "edit")):
            row, picture = judged_file(path, preset, index, draw, given.keep)
            files.append(row)
            shown.append(picture)
            print(json.dumps(row), flush=True)
    save_image(judged_sheet(shown, columns=2), given.keep / "sheet.png")
    found = summary(rows)
    print(json.dumps(found, indent=2))
    met = {
        "color_right": found["color_right"] >= TARGETS["color_right"],
        "f_score_least": found["f_score_least"] >= TARGETS["f_score_least"],
        "seams_most": found["seams_most"] <= TARGETS["seams_most"],
    }
    for name, is_met in met.items():
        print(f"{name}: {found[name]} {'reaches' if is_met else 'MISSES'} {TARGETS[name]}")
    sliders = {"keep_shape": given.shape, "keep_look": given.look, "file_keep_look": given.file_look}
    settings = {"seed": given.seed, **sliders, "isomer": vars(ISOMER)}
    print(measure.write("edit_meshes", rows, files=files, settings=settings, summary=found, targets=TARGETS))


if __name__ == "__main__":
    main()
