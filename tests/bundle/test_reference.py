"""Reference bundles against what is known of walls and boxes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.bundle.reference import ReferenceOptions, bundle_order, reference_bundle, reference_views
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.views.bundle import join_bundle
from bundle3d.pipelines.views.rig import Rig, named_rig, orbit
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.rendering.scenes import box

TILE = 64
UNLIT = ReferenceOptions("mesh, unlit", TILE)


def seen(rig: Rig, size: int = TILE) -> ViewSet:
    """A box, every view in another grey."""
    views = render_views(box(0.7, 0.5, 0.3), rig, size, "unlit")
    grey = torch.arange(1, len(rig) + 1)[:, None, None, None] / 8.0
    return replace(views, rgb=torch.where(views.mask[..., None] > 0.0, grey.expand_as(views.rgb), 1.0))


def color(image: torch.Tensor, column: int, row: int = TILE // 2) -> list[int]:
    return (image[TILE + row, column * TILE + TILE // 2] * 255.0).round().int().tolist()


def test_walls_that_face_the_camera_have_the_colour_of_their_normal() -> None:
    """specs/kiss3dgen.md 1.3 and 3.3."""
    image = join_bundle(reference_views(box(0.8, 0.8, 0.8), None, UNLIT))
    assert [color(image, column) for column in range(4)] == [[128, 116, 255]] * 4


def test_the_reference_tilted_them() -> None:
    """specs/kiss3dgen.md 3.3: the sides change, whose azimuths are 0 and 180 there; front and back stay."""
    image = join_bundle(reference_views(box(0.8, 0.8, 0.8), None, replace(UNLIT, tilted=True)))
    expected = [[128, 116, 255], [128, 61, 236], [128, 116, 255], [128, 174, 246]]
    found = torch.tensor([color(image, column) for column in range(4)])
    assert int((found - torch.tensor(expected)).abs().max()) <= 1
    # The top of the box rolls in the front view.
    top = join_bundle(reference_views(box(0.8, 0.05, 0.8), None, replace(UNLIT, tilted=True)))
    strip = (top[TILE:, TILE // 2] * 255.0).round()
    assert float((strip - torch.tensor((70.0, 241.0, 137.0))).abs().amax(-1).min()) <= 2


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1)])
def test_views_come_in_the_order_of_a_bundle(order: tuple[int, ...]) -> None:
    rig = named_rig("kiss3dgen")
    shuffled = Rig(tuple(rig[index] for index in order))
    views = seen(shuffled)
    made = reference_views(box(0.7, 0.5, 0.3), views, ReferenceOptions(tile=TILE))
    assert torch.equal(made.rgb, bundle_order(views).rgb)
    assert [camera.azimuth for camera in made.rig] == [0.0, 90.0, 180.0, 270.0]
    inside = float(made.rgb[0].min())
    assert inside == pytest.approx((order.index(0) + 1) / 8.0)
    with pytest.raises(Bundle3DError, match="at 0 degrees"):
        bundle_order(seen(named_rig("zero123plus")))


def test_the_mesh_is_rendered_where_it_covers_the_views() -> None:
    views = seen(orbit(4, 5.0, 4.5, 30.0), 96)
    small = box(0.7 * 0.85, 0.5 * 0.85, 0.3 * 0.85)
    made = reference_views(small, views, ReferenceOptions(tile=96))
    assert made.rig[0].distance == pytest.approx(4.5 * 0.85, abs=0.03)
    assert float((made.mask - views.mask).abs().mean()) < 0.005
    fixed = reference_views(small, views, ReferenceOptions(tile=TILE, distance=4.15))
    assert fixed.rig[2].distance == 4.15 and fixed.rgb.shape == (4, TILE, TILE, 3)


@pytest.mark.parametrize(("name", "own"), [("zero123plus", 3.2), ("cube6", 1.1 / math.tan(math.radians(15.0)))])
def test_the_size_for_the_meshs_colours_comes_from_any_views(name: str, own: float) -> None:
    perspective = name == "zero123plus"  # only there the distance tells the size
    shrunk = 0.85 if perspective else 1.0
    made = reference_bundle(box(0.7 * shrunk, 0.5 * shrunk, 0.3 * shrunk), seen(named_rig(name), 96), UNLIT)
    assert [camera.azimuth for camera in made.views.rig] == [0.0, 90.0, 180.0, 270.0]
    assert [camera.distance for camera in made.views.rig] == pytest.approx([own * shrunk] * 4, abs=0.03)
    assert len(made.overlaps) == 6 and min(made.overlaps) > 0.95
    fixed = reference_bundle(box(0.7, 0.5, 0.3), seen(named_rig(name), 96), replace(UNLIT, distance=4.0))
    assert fixed.views.rig[3].distance == 4.0


def test_a_poor_fit_is_told() -> None:
    views = seen(named_rig("kiss3dgen"))
    good = reference_bundle(box(0.7, 0.5, 0.3), views, ReferenceOptions(tile=TILE), (views.rgb[0], views.mask[0]))
    assert min(good.overlaps) > 0.97 and good.photo_overlap is not None and good.photo_overlap > 0.95
    side = (views.rgb[1], views.mask[1])
    poor = reference_bundle(box(0.3, 0.5, 0.7), views, ReferenceOptions(tile=TILE), side)
    assert max(poor.overlaps) < 0.8
    turned = reference_bundle(box(0.7, 0.5, 0.3), views, ReferenceOptions(tile=TILE), side)
    assert turned.photo_overlap is not None and turned.photo_overlap < 0.8
    alone = reference_bundle(box(0.7, 0.5, 0.3), None, UNLIT)
    assert alone.overlaps == () and alone.photo_overlap is None and alone.views.rig[0].distance == 4.5


def test_what_is_missing_is_said() -> None:
    with pytest.raises(Bundle3DError, match="connect them"):
        reference_views(box(0.5, 0.5, 0.5), None)
    with pytest.raises(Bundle3DError, match=r"within -1 to 1, but it spans \(-70, -50, -30\)"):
        reference_views(box(70.0, 50.0, 30.0), None, UNLIT)
    large = reference_views(box(70.0, 50.0, 30.0), None, replace(UNLIT, distance=450.0))
    assert large.rig[0].distance == 450.0 and float(large.mask.mean()) > 0.05
    with pytest.raises(Bundle3DError, match="one of views"):
        reference_views(box(0.5, 0.5, 0.5), None, ReferenceOptions("photo"))


def test_the_outlines_of_the_views_cut_and_continue_the_normals() -> None:
    """A mesh that misses the views, too narrow and too tall: every pixel of theirs gets a normal, and no other."""
    views = seen(named_rig("kiss3dgen"))
    options = ReferenceOptions(tile=TILE, distance=4.5, outlines="views")
    made = reference_views(box(0.5, 0.7, 0.3), views, options)
    assert torch.equal(made.mask, views.mask)
    inside = views.mask > 0.0
    assert torch.allclose(made.normal.norm(dim=-1), inside.float(), atol=1e-5)
    front = made.normal[0][inside[0]]
    assert float((front - torch.tensor((0.0, 0.0, 1.0))).norm(dim=-1).median()) < 0.2
    with pytest.raises(Bundle3DError, match="under their colours"):
        reference_views(box(0.5, 0.7, 0.3), views, replace(UNLIT, outlines="views"))
