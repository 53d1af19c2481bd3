"""Relief that only views show, in normal textures."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.edit_mesh import NORMALS, edit_mesh
from bundle3d.pipelines.editing.normal_detail import edit_normals
from bundle3d.pipelines.editing.texture import TextureOptions
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.views.view_set import ViewSet
from torch.nn.functional import normalize

from .cases import SIZE, ball_region, recolored, ring, texel_points, texture_of, views_of


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return ring()


@pytest.fixture(scope="module")
def before(mesh: Mesh) -> ViewSet:
    return views_of(mesh)


def rippled(views: ViewSet) -> ViewSet:
    """The views with a tilt of all normals toward +Y."""
    tilted = normalize(views.normal + torch.tensor((0.0, 0.4, 0.0)), dim=-1) * (views.mask[..., None] > 0)
    return replace(views, normal=tilted)


def angles(one: ViewSet, two: ViewSet) -> torch.Tensor:
    """Degrees between normals well inside all views."""
    inner = -torch.nn.functional.max_pool2d(-one.mask[:, None], 9, 1, 4)[:, 0] > 0.99
    cosine = (one.normal * two.normal).sum(-1)[inner]
    return cosine.clamp(-1.0, 1.0).acos() * (180.0 / math.pi)


def test_a_render_shows_the_new_normals(mesh: Mesh, before: ViewSet) -> None:
    after = rippled(before)
    result = edit_normals(mesh, before, after).mesh
    shown = views_of(result)
    assert float(angles(before, after).mean()) > 12.0
    assert float(angles(shown, after).mean()) < 4.0
    assert result.vertices is mesh.vertices and result.uv is mesh.uv and result.normals is mesh.normals
    assert result.materials[0].base_color_texture is mesh.materials[0].base_color_texture


def test_equal_normals_and_their_noise_give_the_very_same_mesh(mesh: Mesh, before: ViewSet) -> None:
    noise = 0.01 * torch.randn(before.normal.shape, generator=torch.Generator().manual_seed(0))
    noisy = replace(before, normal=normalize(before.normal + noise, dim=-1) * (before.mask[..., None] > 0))
    assert edit_normals(mesh, before, before).mesh is mesh
    assert edit_normals(mesh, before, noisy).mesh is mesh


def test_the_region_gets_a_material_of_its_own(mesh: Mesh, before: ViewSet) -> None:
    center = torch.tensor((0.0, 0.0, 0.95))
    result = edit_normals(mesh, before, rippled(before), ball_region(mesh, center, 0.4, 0.1)).mesh
    assert [material.name for material in result.materials] == ["paint", "paint (edited)"]
    assert result.materials[0].normal_texture is None and texture_of(result, 1) is texture_of(mesh)
    count = len(mesh.vertices)
    assert torch.equal(result.vertices[:count], mesh.vertices) and torch.equal(result.uv[:count], mesh.uv)
    outside = result.face_material == 0
    assert torch.equal(result.faces[outside], mesh.faces[outside])
    mask, points = texel_points(result.with_(faces=result.faces[~outside], face_material=None))
    bumps = result.materials[1].normal_texture[mask]
    changed = (bumps != torch.tensor((128, 128, 255), dtype=torch.uint8)).any(1)
    distance = (points - center).norm(dim=1)
    assert not changed[distance > 0.4 + 0.19 + 1e-4].any() and float(changed[distance < 0.35].float().mean()) > 0.8


def test_a_second_edit_builds_on_the_first(mesh: Mesh, before: ViewSet) -> None:
    first = edit_normals(mesh, before, rippled(before)).mesh
    shown = views_of(first)
    back = edit_normals(first, shown, before).mesh
    assert float(angles(views_of(back), before).mean()) < 4.0
    assert texture_of(back).shape == (SIZE, SIZE, 3)


def test_meshes_without_texture_coordinates_get_some(mesh: Mesh, before: ViewSet) -> None:
    bare = Mesh(mesh.vertices, mesh.faces, name="bare")
    result = edit_normals(bare, before, rippled(before)).mesh
    assert result.uv is not None and result.materials[0].normal_texture is not None
    twice = mesh.with_(uv=mesh.uv * 0.5 + torch.tensor((0.0, 0.0)))
    folded = twice.with_(uv=torch.where(twice.uv > 0.25, 0.5 - twice.uv, twice.uv))
    with pytest.raises(Bundle3DError, match="new_uv"):
        edit_normals(folded, before, rippled(before))


@pytest.mark.parametrize("recolor", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_made_normal_textures_are_enlarged_once(mesh: Mesh, before: ViewSet, recolor: bool, within: bool) -> None:
    region = ball_region(mesh, torch.tensor((0.0, 0.0, 0.95)), 0.4) if within else None
    after = recolored(rippled(before)) if recolor else rippled(before)
    edit = edit_mesh(mesh, before, after, NORMALS, region, options=TextureOptions(scale=2))
    (normal,) = [item.normal_texture for item in edit.mesh.materials if item.normal_texture is not None]
    assert normal.shape == (2 * SIZE, 2 * SIZE, 3)
    assert texture_of(edit.mesh).shape == ((2 * SIZE, 2 * SIZE, 3) if recolor else (SIZE, SIZE, 3))


def test_normal_textures_that_would_become_too_large_are_refused(mesh: Mesh, before: ViewSet) -> None:
    large = torch.tensor((128, 128, 255), dtype=torch.uint8).expand(1, 4096, 3)
    bumpy = mesh.with_(materials=(replace(mesh.materials[0], normal_texture=large),))
    with pytest.raises(Bundle3DError, match="'paint' is 16384; lower texture_scale"):
        edit_normals(bumpy, before, rippled(before), options=TextureOptions(scale=4))
