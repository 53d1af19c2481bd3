"""Inspection: perfect bundles are praised, each way of spoiling one is named."""

from __future__ import annotations

import json

import pytest
import torch
from bundle3d.pipelines.bundle.contact_sheet import contact_sheet
from bundle3d.pipelines.bundle.inspect import inspect_bundle
from bundle3d.pipelines.bundle.report import BundleReport
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.isomer.initial import sphere
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import BundleLayout, join_bundle, split_bundle
from bundle3d.pipelines.views.rig import named_rig, orbit
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.rendering.scenes import box

TILE = 128
LAYOUT = BundleLayout(2, 4, TILE)


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """A bundle of an egg that stands a little to the front, coloured by position."""
    egg = sphere(0.7, subdivisions=4)
    vertices = egg.vertices * torch.tensor((0.7, 1.1, 0.8)) + torch.tensor((0.0, 0.0, 0.15))
    egg = egg.with_(vertices=vertices, colors=(vertices * 0.25 + 0.4).clamp(0.0, 1.0))
    return (join_bundle(render_views(egg, named_rig("kiss3dgen"), TILE, "unlit")) * 255.0).round() / 255.0


def inspected(image: torch.Tensor) -> BundleReport:
    return inspect_bundle(split_bundle(image), image)


def spoiled(image: torch.Tensor, columns: list[int] | None = None, **shift: int) -> torch.Tensor:
    tiles = LAYOUT.split(image).clone()
    if columns is not None:
        tiles = tiles[:, columns]
    for name, amount in shift.items():
        tiles[:, int(name[-1])] = tiles[:, int(name[-1])].roll(amount, 2)
    return LAYOUT.join(tiles)


def texts(report: BundleReport, level: str) -> str:
    return " ".join(finding.text for finding in report.findings if finding.level == level)


def test_a_perfect_bundle_is_good(image: torch.Tensor) -> None:
    report = inspected(image)
    assert report.verdict == "good", report.findings
    assert min(view.hull_iou for view in report.views) > 0.99
    assert min(view.rim_agreement or 0.0 for view in report.views) > 0.95
    assert max(view.length_error or 0.0 for view in report.views) < 0.01
    neighbours = [pair for pair in report.pairs if (pair.second - pair.first) in (1, 3)]
    assert all(pair.points > 100 for pair in neighbours)
    assert max(pair.normal_angle or 0.0 for pair in neighbours) < 3.0
    assert max(pair.color_difference or 0.0 for pair in neighbours) < 0.03


def test_figures_of_a_known_sphere() -> None:
    radius = 0.6
    views = render_views(sphere(radius, subdivisions=5), named_rig("kiss3dgen"), TILE, "unlit")
    figures = inspect_bundle(views).views[0]
    # Half the sphere's outline, seen from distance 4.5, in half tiles.
    outline = radius / (4.5**2 - radius**2) ** 0.5 * 3.732051
    assert figures.height == pytest.approx(outline, abs=0.02)
    assert figures.coverage == pytest.approx(torch.pi * outline**2 / 4.0, rel=0.01)
    assert figures.off_centre == pytest.approx((0.0, 0.0), abs=0.01)
    assert figures.clipped == 0.0
    assert figures.length_error is None


def test_a_shifted_view_is_named(image: torch.Tensor) -> None:
    report = inspected(spoiled(image, view_1=-16))
    assert report.verdict == "problem"
    assert "do not fit one body" in texts(report, "problem")
    assert "view 2 is off centre by -" in texts(report, "warning")


def test_views_in_the_wrong_order_are_found(image: torch.Tensor) -> None:
    assert inspected(spoiled(image, [1, 0, 2, 3])).verdict != "good"


def test_mirrored_normals_are_found_in_every_view(image: torch.Tensor) -> None:
    tiles = LAYOUT.split(image).clone()
    tiles[1, ..., 0] = torch.where(tiles[1].amin(-1) < 0.99, 1.0 - tiles[1, ..., 0], tiles[1, ..., 0])
    report = inspected(LAYOUT.join(tiles))
    assert max(view.rim_agreement or 0.0 for view in report.views) < 0.35
    for number in range(1, 5):
        assert f"normals of view {number} " in texts(report, "problem") + texts(report, "warning")


def test_the_outline_of_a_face_toward_the_camera_tells_nothing_of_its_normals() -> None:
    """A cube that faces the camera, as a model draws it: noise turns a few normals of its rim inward."""
    block = render_views(box(0.5, 0.5, 0.5), named_rig("kiss3dgen"), TILE, "unlit")
    normal = block.normal.clone()
    rows, columns = torch.where(block.mask[0] > 0.99)
    normal[0, rows.min() : rows.max() + 1, columns.min()] = torch.tensor((0.8, 0.0, 0.6))
    assert inspect_bundle(block).views[0].rim_agreement is None
    report = inspect_bundle(ViewSet(block.rgb, normal, block.mask, block.rig))
    assert report.views[0].rim_agreement is None
    assert "outline" not in texts(report, "problem") + texts(report, "warning")


def test_flipped_normals_of_a_sphere_point_inward_at_its_outline() -> None:
    ball = render_views(sphere(0.6, subdivisions=4), named_rig("kiss3dgen"), TILE, "unlit")
    rotation = ball.rig[0].rotation().to(ball.normal)
    flipped = ball.normal.clone()
    flipped[0] = (flipped[0] @ rotation.T * torch.tensor((-1.0, -1.0, 1.0))) @ rotation
    report = inspect_bundle(ViewSet(ball.rgb, flipped, ball.mask, ball.rig))
    assert report.views[0].rim_agreement == pytest.approx(-1.0, abs=0.05)
    assert "normals of view 1 point inward at the outline" in texts(report, "problem")


def test_an_object_cut_off_by_the_tile_is_found(image: torch.Tensor) -> None:
    report = inspected(spoiled(image, view_0=40))
    assert "View 1 touches the tile's border" in texts(report, "problem")


def test_short_normals_are_found(image: torch.Tensor) -> None:
    tiles = LAYOUT.split(image).clone()
    mask = split_bundle(image, soft=False).mask[2][..., None]
    tiles[1, 2] = torch.where(mask > 0, 0.5 + (tiles[1, 2] - 0.5) * 0.8, tiles[1, 2])
    assert "normals of view 3 are 20" in texts(inspected(LAYOUT.join(tiles)), "warning")


def test_a_view_of_another_colour_is_found(image: torch.Tensor) -> None:
    tiles = LAYOUT.split(image).clone()
    mask = split_bundle(image, soft=False).mask[1][..., None]
    tiles[0, 1] = torch.where(mask > 0, tiles[0, 1].flip(-1) * 0.5, tiles[0, 1])
    assert "disagree in colour" in texts(inspected(LAYOUT.join(tiles)), "warning")


def test_a_given_mesh_decides_what_both_views_see(image: torch.Tensor) -> None:
    egg = sphere(0.7, subdivisions=4)
    egg = egg.with_(vertices=egg.vertices * torch.tensor((0.7, 1.1, 0.8)) + torch.tensor((0.0, 0.0, 0.15)))
    report = inspect_bundle(split_bundle(image), image, egg)
    neighbours = [pair for pair in report.pairs if (pair.second - pair.first) in (1, 3)]
    assert all(pair.points > 100 for pair in neighbours)
    assert max(pair.normal_angle or 0.0 for pair in neighbours) < 3.0


def test_an_empty_view_is_refused(image: torch.Tensor) -> None:
    tiles = LAYOUT.split(image).clone()
    tiles[:, 2] = 1.0
    with pytest.raises(Bundle3DError, match="view 3 is empty"):
        inspected(LAYOUT.join(tiles))


def test_the_report_is_plain_json(image: torch.Tensor) -> None:
    values = json.loads(json.dumps(inspected(image).as_dict()))
    assert values["verdict"] == "good"
    assert len(values["views"]) == 4
    assert len(values["pairs"]) == 6


@pytest.mark.parametrize("columns", [4, 8])
def test_the_contact_sheet_shows_all_views(columns: int) -> None:
    views = render_views(sphere(0.6, subdivisions=3), orbit(columns, 5.0), 32, "unlit", coordinates=columns == 4)
    sheet = contact_sheet(views, inspect_bundle(views))
    assert sheet.shape[1] == columns * 264 + 8
    assert sheet.shape[2] == 3
    assert float(sheet.min()) >= 0.0
    assert float(sheet.max()) <= 1.0
    explained = torch.tensor((0.55, 0.65, 0.62))
    for column in range(columns):
        strip = sheet[:, 8 + column * 264 : 264 + column * 264]
        assert int(((strip - explained).abs().amax(-1) < 0.01).sum()) > 5000, (
            "the hull row shows this view's silhouette"
        )


def test_views_are_not_changed(image: torch.Tensor) -> None:
    views = split_bundle(image)
    before = ViewSet(views.rgb.clone(), views.normal.clone(), views.mask.clone(), views.rig)
    contact_sheet(views, inspect_bundle(views, image))
    for name in ("rgb", "normal", "mask"):
        assert torch.equal(getattr(views, name), getattr(before, name))
