"""Objects as pictures show them stand where their views say."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.world import in_world
from bundle3d.pipelines.pixal3d.finish.options import FinishOptions
from bundle3d.pipelines.pixal3d.finish.placement import placement
from bundle3d.pipelines.pixal3d.pictured_object import (
    PicturedObject,
    asset_alignment,
    pictured_photo,
    pictured_views,
    placed_asset,
)
from bundle3d.pipelines.pixal3d.volume_pictures import color_volume, feature_volume, slices
from bundle3d.pipelines.rendering.render_views import render_views
from bundle3d.pipelines.training.shapes import Part, Subject, build
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.pixal3d.make_small import disc, small_models

CENTRE = torch.tensor((0.1, -0.15, 0.05))
PLACE = torch.tensor(((0, 0, 2, 1), (0, 2, 0, 0), (-2, 0, 0, 0), (0, 0, 0, 1)), dtype=torch.float64)
AXES = [FinishOptions(), FinishOptions(front="-Z", size=1.0), FinishOptions(up="+Z", front="+X")]


def blob() -> Mesh:
    """An ellipsoid beside the middle, within the cube that views show."""
    mesh = build(Subject((Part("sphere", "cyan"),)))
    size = mesh.vertices.abs().amax(0)
    vertices = mesh.vertices / size * torch.tensor((0.6, 0.35, 0.5)) + CENTRE
    return mesh.with_(vertices=vertices, normals=None)


@pytest.fixture(scope="module")
def item() -> PicturedObject:
    return pictured_views(render_views(blob(), named_rig("kiss3dgen"), 128), PLACE)


def drawn(item: PicturedObject, options: FinishOptions) -> Mesh:
    """The blob as `finish_asset` makes it: in the frame of the first camera, along the axes of ``options``."""
    seen = in_world(blob().with_(transform=torch.linalg.inv(item.turn)))
    axes = placement(options.size / 2.0, options.up, options.front)
    return seen.with_(vertices=(seen.vertices.double() @ axes.T).float())


def test_views_come_on_black_with_the_first_camera_in_front(item: PicturedObject) -> None:
    assert item.pictures.images.shape == (4, 128, 128, 3) and item.masks.shape == (4, 128, 128)
    assert bool((item.pictures.images[item.masks == 0] == 0).all()) and item.pictures.images.max() > 0.3
    front = item.pictures.cameras[0].camera_to_world
    torch.testing.assert_close(front[:3, 3], torch.tensor((0.0, -2.25, 0.0), dtype=torch.float64))
    elevation = math.degrees(math.asin(float(item.turn[1, 2])))
    assert elevation == pytest.approx(5.0)


@pytest.mark.parametrize("options", AXES, ids=["world", "published", "blender"])
def test_an_asset_comes_back_to_its_views_and_its_place(item: PicturedObject, options: FinishOptions) -> None:
    placed = placed_asset(drawn(item, options), item, options)
    axes = torch.eye(4, dtype=torch.float64)
    axes[:3, :3] = placement(options.size / 2.0, options.up, options.front)
    truth = blob().with_(transform=axes @ PLACE)
    torch.testing.assert_close(in_world(placed).vertices, in_world(truth).vertices, atol=1e-5, rtol=0)
    if options == FinishOptions():
        torch.testing.assert_close(placed.vertices, blob().vertices, atol=1e-6, rtol=0)
        assert torch.equal(placed.transform, PLACE)


@pytest.mark.parametrize("options", AXES, ids=["world", "published", "blender"])
def test_an_asset_lies_on_its_first_picture(item: PicturedObject, options: FinishOptions) -> None:
    mesh = drawn(item, options)
    assert asset_alignment(mesh, item, options).silhouette_iou > 0.97
    moved = mesh.with_(vertices=mesh.vertices * 0.7)
    assert asset_alignment(moved, item, options).silhouette_iou < 0.8


def test_a_photo_stays_where_it_is() -> None:
    mask = torch.zeros(16, 16)
    mask[4:12, 4:12] = 1.0
    item = pictured_photo(mask[..., None].expand(-1, -1, 3), mask, 0.5)
    mesh = blob()
    assert placed_asset(mesh, item, FinishOptions(up="+Z")).vertices is mesh.vertices
    assert item.pictures.cameras[0].fov == 0.5
    with pytest.raises(Bundle3DError, match="masks of the same pictures"):
        pictured_photo(mask[..., None].expand(-1, -1, 3), mask[:8], 0.5)


def test_orthographic_and_empty_views_are_refused() -> None:
    for rig, mesh, words in (
        ("cube6", blob(), "orthographic"),
        ("kiss3dgen", blob().with_(vertices=blob().vertices + 9.0), "view 1 is empty"),
    ):
        with pytest.raises(Bundle3DError, match=words):
            pictured_views(render_views(mesh, named_rig(rig), 32), torch.eye(4, dtype=torch.float64))


def test_the_hull_holds_the_object_and_colours_are_those_of_the_pictures(item: PicturedObject) -> None:
    colors, share = color_volume(item, 24)
    core = blob().with_(vertices=CENTRE + 0.8 * (blob().vertices - CENTRE), transform=torch.linalg.inv(item.turn))
    inside = ((in_world(core).vertices / 2.0 + 0.5) * 23).round().long()
    assert float((share[tuple(inside.T)] > 0.9).float().mean()) > 0.9
    assert 0.0 < float((share > 0.9).float().mean()) < 0.5
    assert colors.shape == (24, 24, 24, 3) and float(colors[share == 0].abs().max()) == 0.0
    single = pictured_photo(item.pictures.images[0], item.masks[0])
    flat = color_volume(single, 8)[0]
    layers = slices(flat)
    assert layers.shape == (8, 256, 256, 3)
    assert torch.equal(layers[0, 0, 0], flat[0, 7, 7]) and torch.equal(layers[7, -1, -1], flat[7, 0, 0])


def test_features_become_colours() -> None:
    models = small_models()
    shown = PicturedObject(disc(), torch.ones(1, 40, 40))
    assert models.texture is not None
    volume = feature_volume(models, shown, models.texture.sight, 8)
    assert volume.shape == (8, 8, 8, 3) and 0.0 <= float(volume.min()) < float(volume.max()) <= 1.0
    assert torch.equal(volume, feature_volume(models, shown, models.texture.sight, 8))
