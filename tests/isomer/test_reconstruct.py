from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.isomer.options import IsomerOptions
from bundle3d.pipelines.isomer.reconstruct import Reconstruction, measure, reconstruct
from bundle3d.pipelines.meshes.topology import is_manifold, is_watertight
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import split_bundle
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.pipelines.views.view_set import ViewSet
from PIL import Image

BUNDLES = Path(__file__).parents[1] / "data" / "bundles"
QUICK = IsomerOptions(hull_resolution=24, integration_steps=6, stage_two_steps=2, faces=1500)


def reduced_bundle(name: str, size: int = 64) -> ViewSet:
    with Image.open(BUNDLES / f"{name}.png") as picture:
        image = torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)
    factor = image.shape[0] // (2 * size)
    return split_bundle(image[factor // 2 :: factor, factor // 2 :: factor].contiguous())


class Watch:
    """A progress that notes what it is told and asks for the first picture."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.pictures: list[torch.Tensor] = []

    def __call__(self, done: int, total: int, preview=None) -> None:
        assert total == 100
        self.seen.append(done)
        if preview is not None and not self.pictures:
            self.pictures.append(preview())


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def box(watch: Watch) -> Reconstruction:
    return reconstruct(reduced_bundle("3"), QUICK, progress=watch)


def test_the_cube_has_its_size(box: Reconstruction):
    low, high = box.mesh.bounds
    assert ((high - low) / 2).tolist() == pytest.approx([0.6] * 3, rel=0.04)


def test_the_result_is_sound_and_its_figures_tell_so(box: Reconstruction):
    assert is_watertight(box.mesh.faces)
    assert is_manifold(box.mesh.faces)
    figures = box.figures
    assert (figures["watertight"], figures["manifold"], figures["components"]) == (True, True, 1)
    assert figures["faces"] == len(box.mesh.faces) == pytest.approx(1500, rel=0.02)
    assert min(figures["silhouette_iou"]) > 0.97
    assert max(figures["normal_mean"]) < 9.0


def test_equal_seeds_give_equal_meshes_in_inference_mode_too_and_inputs_stay(box: Reconstruction):
    views = reduced_bundle("3")
    before = views.mask.clone(), views.normal.clone()
    with torch.inference_mode():
        again = reconstruct(views, QUICK)
    assert torch.equal(again.mesh.vertices, box.mesh.vertices)
    assert torch.equal(again.mesh.faces, box.mesh.faces)
    assert torch.equal(again.mesh.colors, box.mesh.colors)
    assert torch.equal(views.mask, before[0])
    assert torch.equal(views.normal, before[1])


def test_progress_never_goes_back_and_ends_full(box: Reconstruction, watch: Watch):
    assert watch.seen == sorted(watch.seen)
    assert watch.seen[-1] == 100
    assert watch.pictures[0].shape == (256, 1024, 3)
    assert 0.0 <= float(watch.pictures[0].min()) < float(watch.pictures[0].max()) <= 1.0


@pytest.mark.parametrize(("name", "distance"), [("kiss3dgen", 4.5), ("lrm", 3.5)])
def test_a_given_mesh_moves_the_cameras_to_where_it_fits(name: str, distance: float):
    shape, scale = sphere(0.6, 3), 0.9
    views = render_views(shape, named_rig(name), 64, "clay")
    small = shape.with_(vertices=shape.vertices * scale)
    still = replace(QUICK, integration_steps=0, stage_two_steps=0, colors=False)
    result = reconstruct(views, still, initial=small)
    assert result.rig[0].distance == pytest.approx(scale * distance, abs=0.05)
    assert float(result.mesh.vertices.norm(dim=1).mean()) == pytest.approx(0.6 * scale, rel=0.02)
    kept = reconstruct(views, replace(still, fit_distance=False), initial=small)
    assert kept.rig[0].distance == distance


def test_a_given_mesh_is_turned_outward():
    shape = sphere(0.6, 3)
    views = render_views(shape, named_rig("kiss3dgen"), 64, "clay")
    still = replace(QUICK, integration_steps=0, stage_two_steps=0, colors=False)
    mesh = reconstruct(views, still, initial=shape.with_(faces=shape.faces.flip(1))).mesh
    assert float((mesh.vertex_normals() * mesh.vertices).sum(1).min()) > 0.0


def test_a_view_that_shows_nothing_of_the_mesh_has_no_angles():
    shape = sphere(0.5, 3)
    views = render_views(shape, named_rig("kiss3dgen"), 64, "clay")
    mask = views.mask.clone()
    mask[1] = 0
    mask[1, :4, :4] = 1
    figures = measure(shape, ViewSet(views.rgb, views.normal, mask, views.rig))
    assert [math.isnan(angle) for angle in figures["normal_mean"]] == [False, True, False, False]
    assert figures["silhouette_iou"][1] == 0.0
    assert figures["distances"] == [4.5] * 4


def test_the_reference_runs_from_a_sphere():
    views = render_views(sphere(0.7, 4), named_rig("kiss3dgen"), 64, "clay")
    options = IsomerOptions(reference_exact=True, initial="sphere", stage_one_steps=10, stage_two_steps=3, colors=False)
    result = reconstruct(views, options)
    assert is_watertight(result.mesh.faces)
    assert min(result.figures["silhouette_iou"]) > 0.85


def test_empty_masks_and_bad_options_are_refused():
    views = reduced_bundle("3")
    with pytest.raises(Bundle3DError, match="mask of view 1 is empty"):
        reconstruct(ViewSet(views.rgb, views.normal, views.mask * 0, views.rig), QUICK)
    for scale in (30.0, 1e-20, 0.0):
        start = sphere(0.7, 2)
        with pytest.raises(Bundle3DError, match=r"which are 2\.41 high, but it has an area of"):
            reconstruct(views, QUICK, start.with_(vertices=start.vertices * scale))
    for wrong in ({"initial": "cone"}, {"faces": 10}, {"stage_two_steps": -1}):
        with pytest.raises(Bundle3DError):
            IsomerOptions(**wrong)


def test_colours_come_with_the_mesh_when_asked(box: Reconstruction):
    colors = box.mesh.colors
    assert colors is not None
    grey = ((204 / 255 + 0.055) / 1.055) ** 2.4
    assert float(colors.median()) == pytest.approx(grey, abs=0.02)
    assert math.isfinite(float(colors.sum()))


def test_a_surface_finer_than_the_pixels_is_free_of_burrs():
    """Without the smoothing below a pixel its faces are off by 16 degrees."""
    views = render_views(sphere(0.8), named_rig("kiss3dgen"), 48)
    mesh = reconstruct(views, replace(QUICK, stage_two_steps=20, faces=8000, colors=False)).mesh
    normals = torch.nn.functional.normalize(mesh.face_normals(), dim=1)
    outward = torch.nn.functional.normalize(mesh.vertices[mesh.faces].mean(1), dim=1)
    assert float(torch.rad2deg((normals * outward).sum(1).clamp(-1, 1).arccos()).mean()) < 10
