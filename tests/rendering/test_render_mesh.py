"""Pictures of meshes: exact normals, coverage, depth, bands, and templates reproduced."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.metrics.image import normal_angles, silhouette_iou
from bundle3d.pipelines.rendering import buffers as buffers_module
from bundle3d.pipelines.rendering.render_mesh import MODES, iterate_buffers, render_mesh
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import split_bundle
from bundle3d.pipelines.views.rig import Rig, named_rig
from PIL import Image

from .scenes import FRONT, box, wall
from .shapes import ORTHOGRAPHIC, PERSPECTIVE, sphere

BUNDLES = Path(__file__).parents[1] / "data" / "bundles"
BOXES = {1: (1.0, 0.2, 0.401), 2: (0.399, 1.0, 0.399), 3: (0.6, 0.6, 0.6), 4: (1.0, 0.4, 0.399)}


def ball(rings: int = 48, radius: float = 0.8) -> Mesh:
    vertices, faces = sphere(rings, radius)
    return Mesh(vertices.float(), faces)


@pytest.mark.parametrize("number", BOXES)
def test_boxes_come_out_as_the_shipped_templates(number: int) -> None:
    with Image.open(BUNDLES / f"{number}.png") as picture:
        given = split_bundle(
            torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255.0), soft=False
        )
    # The templates are hard-edged: one sample per pixel.
    buffers = list(iterate_buffers(box(*BOXES[number]), given.rig, 512, 512, "normal", supersample=1))
    mask, normal = (torch.stack([getattr(view, name) for view in buffers]) for name in ("alpha", "normal"))
    # The specification rounds the extents; those of the cube are exact, and so is every pixel of it.
    assert float(silhouette_iou(mask, given.mask).min()) >= (1.0 if number == 3 else 0.997)
    angles = normal_angles(normal, given.normal)[(mask == 1.0) & (given.mask == 1.0)]
    assert float(angles.median()) < 0.5
    assert float((angles > 1.0).float().mean()) < 0.01


@pytest.mark.parametrize("rig", [ORTHOGRAPHIC, PERSPECTIVE], ids=["orthographic", "perspective"])
def test_normals_and_positions_of_a_sphere_are_exact(rig: Rig) -> None:
    views = render_views(ball(), rig, 96, "clay", coordinates=True)
    assert views.coord is not None
    inside = views.mask == 1.0
    angles = normal_angles(views.normal, torch.nn.functional.normalize(views.coord, dim=-1))[inside]
    assert float(angles.mean()) < 0.3
    assert float((views.coord.norm(dim=-1)[inside] - 0.8).abs().mean()) < 2e-3
    assert torch.equal(views.normal.norm(dim=-1) > 0.5, views.mask > 0.0)


def test_coverage_is_the_area_of_the_outline() -> None:
    alpha = render_mesh(ball(), named_rig("kiss3dgen"), 128, 128, "clay", supersample=4)[1]
    outline = 0.8 / math.sqrt(4.5**2 - 0.8**2) * 3.732051 * 64.0
    assert alpha.sum(dim=(1, 2)).tolist() == pytest.approx([math.pi * outline**2] * 4, rel=3e-3)


def test_normal_mode_shows_the_colours_of_the_specification() -> None:
    rgb, alpha = render_mesh(box(0.6, 0.6, 0.6), named_rig("kiss3dgen"), 64, 64, "normal")
    colors = (rgb[:, 32, 32] * 255.0).round().int()
    assert colors.tolist() == [[128, 116, 255]] * 4
    assert torch.equal(rgb[alpha == 0.0], torch.ones_like(rgb[alpha == 0.0]))


def test_both_sides_of_a_face_look_at_the_viewer() -> None:
    for away in (False, True):
        normal = next(iterate_buffers(wall(away=away), FRONT, 4, 4, "normal")).normal
        assert normal[2, 2].tolist() == [0.0, 0.0, 1.0]


def test_depth_is_white_near_and_dark_far_on_one_scale() -> None:
    mesh = box(0.2, 0.3, 0.6)
    rgb, _ = render_mesh(mesh, named_rig("pixal3d-4"), 64, 64, "depth")
    front, side = float(rgb[0, 32, 32, 0]), float(rgb[1, 32, 32, 0])
    assert front == pytest.approx(1.0, abs=1e-3)
    assert side == pytest.approx(0.15, abs=1e-3), "the side is the farthest that any view shows"


@pytest.mark.parametrize("mode", ["clay", "normal"])
def test_bands_of_rows_fit_together(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = render_mesh(ball(24), PERSPECTIVE, 50, 70, mode)
    monkeypatch.setattr(buffers_module, "SAMPLES_PER_BAND", 70 * 4 * 7)
    monkeypatch.setattr(buffers_module, "POINTS_PER_CHUNK", 101)
    bands = render_mesh(ball(24), PERSPECTIVE, 50, 70, mode)
    # Snapping to 1/256 pixel moves with the band, which may flip a sample on an edge.
    assert float((whole[0] - bands[0]).abs().mean()) < 1e-4
    assert float((whole[1] - bands[1]).abs().max()) <= 0.25


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_colours_on_the_background(mode: str) -> None:
    rgb, alpha = render_mesh(ball(12), ORTHOGRAPHIC, 24, 32, mode, background=(0.2, 0.4, 0.6))
    assert rgb.shape == (2, 24, 32, 3)
    assert alpha.shape == (2, 24, 32)
    assert 0.0 <= float(rgb.min()) <= float(rgb.max()) <= 1.0
    assert rgb[0, 0, 0].tolist() == pytest.approx((0.2, 0.4, 0.6))
    assert float(rgb[alpha == 1.0].std()) > 0.0 or mode == "unlit"


def test_unlit_shows_vertex_colours_as_srgb() -> None:
    mesh = ball(12).with_(colors=torch.full((ball(12).vertices.shape[0], 3), 0.21404114))
    rgb, alpha = render_mesh(mesh, FRONT, 32, 32, "unlit")
    assert torch.allclose(rgb[alpha == 1.0], torch.tensor(0.5), atol=1e-4)


def test_given_normals_are_used() -> None:
    mesh = wall().with_(normals=torch.tensor((0.6, 0.0, 0.8)).expand(4, 3))
    assert next(iterate_buffers(mesh, FRONT, 4, 4, "normal")).normal[2, 2].tolist() == pytest.approx((0.6, 0.0, 0.8))


def test_progress_is_told_of_every_view_with_a_picture() -> None:
    told = []

    def progress(done: int, total: int, preview=None) -> None:
        told.append((done, total, tuple(preview().shape)))

    render_mesh(ball(8), PERSPECTIVE, 16, 24, "clay", progress=progress)
    assert told == [(1, 2, (16, 24, 3)), (2, 2, (16, 24, 3))]


def test_the_mesh_is_not_changed_and_the_result_repeats() -> None:
    mesh = ball(12)
    before = mesh.vertices.clone()
    first = render_mesh(mesh, PERSPECTIVE, 24, 24)[0]
    assert torch.equal(first, render_mesh(mesh, PERSPECTIVE, 24, 24)[0])
    assert torch.equal(mesh.vertices, before)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="shaded, unlit"):
        render_mesh(wall(), FRONT, 8, 8, "wireframe")
    with pytest.raises(Bundle3DError, match="supersampling"):
        render_mesh(wall(), FRONT, 8, 8, supersample=0)
    with pytest.raises(Bundle3DError, match="faces"):
        render_mesh(Mesh(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)), FRONT, 8, 8)
