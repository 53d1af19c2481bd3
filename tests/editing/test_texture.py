"""Changed views painted on meshes whose texture is there and fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.region import Region
from bundle3d.pipelines.editing.texture import TextureOptions, edit_texture
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.meshes.shapes import torus

from .cases import BLUE, RED, SIZE, ball_region, recolored, ring, texel_points, texture_of, textured, views_of


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return ring()


@pytest.fixture(scope="module")
def before(mesh: Mesh) -> ViewSet:
    return views_of(mesh)


@pytest.fixture(scope="module")
def blue(mesh: Mesh, before: ViewSet) -> Mesh:
    return edit_texture(mesh, before, recolored(before)).mesh


def test_equal_views_give_the_very_same_mesh(mesh: Mesh, before: ViewSet) -> None:
    rounded = replace(before, rgb=(before.rgb * 255).round() / 255)
    for after in (before, rounded):
        assert edit_texture(mesh, before, after, options=TextureOptions(scale=2)).mesh is mesh


def test_all_of_the_surface_takes_the_new_colour(mesh: Mesh, blue: Mesh) -> None:
    mask, _ = texel_points(mesh)
    error = (texture_of(blue)[mask].float() / 255 - BLUE).abs()
    assert float(error.mean()) < 0.02 and float(error.amax(1).quantile(0.99)) < 0.12


def test_what_no_view_sees_takes_the_new_colour_too() -> None:
    """Four views from the side do not see the top of a striped ring: its stripes go where theirs went."""
    striped = textured(torus(0.65, 0.3, 36, 18), colors=lambda points: 0.5 + 0.3 * torch.sin(points * 12.0).sign())
    views = views_of(striped, rig="kiss3dgen")
    result = edit_texture(striped, views, recolored(views)).mesh
    mask, points = texel_points(striped)
    top = texture_of(result)[mask][points[:, 1] > 0.27].float() / 255
    assert len(top) > 100 and float((top - BLUE).abs().mean()) < 0.03


def test_nothing_but_the_texture_changes(mesh: Mesh, blue: Mesh) -> None:
    for name in ("vertices", "faces", "uv", "normals", "tangents", "colors", "face_material", "transform"):
        assert getattr(blue, name) is getattr(mesh, name), name
    assert (blue.name, blue.units) == (mesh.name, mesh.units)
    assert replace(blue.materials[0], base_color_texture=None) == replace(mesh.materials[0], base_color_texture=None)
    assert float((texture_of(mesh)[texel_points(mesh)[0]].float() / 255 - RED).abs().mean()) < 0.1, "the input stays"


def test_a_change_in_one_view_stays_there(mesh: Mesh, before: ViewSet) -> None:
    rgb = before.rgb.clone()
    rgb[0] = recolored(before).rgb[0]
    result = edit_texture(mesh, before, replace(before, rgb=rgb))
    mask, points = texel_points(mesh)
    old, new = (texture_of(item)[mask].float() / 255 for item in (mesh, result.mesh))
    front = (points[:, 2] > 0.8) & (points[:, 1].abs() < 0.15)
    behind = points[:, 2] < -0.35
    assert float((new - BLUE)[front].abs().mean()) < 0.03
    assert torch.equal(new[behind], old[behind])
    anywhere = int((texture_of(mesh) != texture_of(result.mesh)).any(-1).sum())
    assert int((new != old).any(1).sum()) <= result.textures[0].changed <= anywhere


def test_no_texel_outside_region_and_border_changes(mesh: Mesh, before: ViewSet) -> None:
    mask, points = texel_points(mesh)
    generator = torch.Generator().manual_seed(5)
    changed = 0
    for case in range(20):
        center = mesh.vertices[torch.randint(len(mesh.vertices), (1,), generator=generator)[0]]
        radius = 0.15 + 0.5 * float(torch.rand(1, generator=generator))
        border = (0.04, 0.08, 0.15)[case % 3]
        after = recolored(before, torch.rand(3, generator=generator))
        result = edit_texture(mesh, before, after, ball_region(mesh, center, radius, border)).mesh
        different = (texture_of(mesh) != texture_of(result)).any(-1)[mask]
        distance = (points - center).norm(dim=1)
        reach = border * float((mesh.bounds[1] - mesh.bounds[0]).max())
        assert not different[distance > radius + reach + 1e-5].any(), case
        assert bool(different[distance < radius - 0.02].float().mean() > 0.9), case
        changed += int(different.sum())
    assert changed > 20 * 50


def test_the_border_blends(mesh: Mesh, before: ViewSet) -> None:
    center = torch.tensor((0.0, 0.0, 0.95))
    result = edit_texture(mesh, before, recolored(before), ball_region(mesh, center, 0.4, 0.2)).mesh
    mask, points = texel_points(mesh)
    old, new = (texture_of(item)[mask].float() / 255 for item in (mesh, result))
    share = ((new - old)[:, 2] / (BLUE[2] - old[:, 2])).clamp(0, 1)
    distance = (points - center).norm(dim=1)
    means = [float(share[(distance > low) & (distance < low + 0.1)].mean()) for low in (0.2, 0.4, 0.5, 0.6, 0.85)]
    assert means[0] > 0.9 and means[-1] == 0.0 and means == sorted(means, reverse=True)
    assert 0.2 < means[2] < 0.8


def test_place_scale_and_turn_do_not_matter(mesh: Mesh, before: ViewSet, blue: Mesh) -> None:
    place = torch.diag(torch.tensor((0.02, 0.02, 0.02, 1.0), dtype=torch.float64))
    place[:3, 3] = torch.tensor((3.0, -2.0, 1.0))
    moved = mesh.with_(vertices=mesh.vertices * 50.0, transform=place)
    frame = place @ torch.diag(torch.tensor((50.0, 50.0, 50.0, 1.0), dtype=torch.float64))
    result = edit_texture(moved, before, recolored(before), transform=frame).mesh
    assert result.vertices is moved.vertices and result.transform is place
    assert float((texture_of(result).float() - texture_of(blue).float()).abs().max()) <= 3.0


@pytest.mark.parametrize("scale", [2, 4])
def test_a_finer_texture_keeps_what_bilinear_lookups_gave(mesh: Mesh, before: ViewSet, scale: int) -> None:
    center = torch.tensor((0.0, 0.0, 0.95))
    region = ball_region(mesh, center, 0.4)
    result = edit_texture(mesh, before, recolored(before), region, TextureOptions(scale=scale))
    assert texture_of(result.mesh).shape == (SIZE * scale, SIZE * scale, 3)
    mask, points = texel_points(mesh, SIZE * scale, SIZE * scale)
    planes = texture_of(mesh).permute(2, 0, 1)[None].float()
    smooth = torch.nn.functional.interpolate(planes, scale_factor=scale, mode="bilinear", align_corners=False)
    distance = (points - center).norm(dim=1)
    new, old = texture_of(result.mesh)[mask], smooth[0].permute(1, 2, 0).round().to(torch.uint8)[mask]
    assert torch.equal(new[distance > 0.45], old[distance > 0.45])
    assert float((new[distance < 0.38].float() / 255 - BLUE).abs().mean()) < 0.02
    assert result.mesh.materials[0].orm_texture is mesh.materials[0].orm_texture


def test_detail_finer_than_the_views_survives_a_small_change(mesh: Mesh, before: ViewSet) -> None:
    """A slight tint shifts the colours and leaves the grain of the texture."""
    generator = torch.Generator().manual_seed(1)
    grain = (torch.rand(SIZE, SIZE, 1, generator=generator) < 0.5).to(torch.uint8) * 20
    grainy = mesh.with_(materials=(replace(mesh.materials[0], base_color_texture=texture_of(mesh) + grain),))
    views = views_of(grainy, 64)
    mask = views.mask[..., None]
    tinted = replace(views, rgb=views.rgb + torch.tensor((0.0, 0.05, 0.0)) * mask)
    result = edit_texture(grainy, views, tinted).mesh
    shown = texel_points(mesh)[0]
    shift = (texture_of(result).float() - texture_of(grainy).float())[shown] / 255
    assert float(shift[:, 1].median()) == pytest.approx(0.05, abs=0.01)
    assert float(shift[:, 1].std()) < 0.02


def test_refusals(mesh: Mesh, before: ViewSet) -> None:
    after = recolored(before)
    with pytest.raises(Bundle3DError, match="1, 2 or 4"):
        edit_texture(mesh, before, after, options=TextureOptions(scale=3))
    with pytest.raises(Bundle3DError, match="is 16384; lower texture_scale"):
        edit_texture(Mesh(mesh.vertices, mesh.faces), before, after, options=TextureOptions(scale=4, resolution=4096))
    with pytest.raises(Bundle3DError, match="another one"):
        edit_texture(mesh, before, after, Region(mesh.with_(faces=mesh.faces[1:])))
    with pytest.raises(Bundle3DError, match="outlines"):
        edit_texture(mesh.with_(vertices=mesh.vertices * 0.3), before, after)
    with pytest.raises(Bundle3DError, match="empty"):
        edit_texture(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)), before, after)
