"""Edits of meshes whose colours are not in a texture that can be painted on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.own_textures import own_textures
from bundle3d.pipelines.editing.texture import TextureOptions, edit_texture
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.views.view_set import ViewSet
from bundle3d.tests.meshes.shapes import torus

from .cases import BLUE, SIZE, ball_region, recolored, ring, views_of

FRONT = torch.tensor((0.0, 0.0, 0.95))
OPTIONS = TextureOptions(resolution=SIZE)


def bare() -> Mesh:
    return torus(0.65, 0.3, 36, 18).with_(name="bare")


def plain() -> Mesh:
    return bare().with_(materials=(Material(name="red", base_color_factor=(0.6, 0.05, 0.03, 1.0)),))


def vertex_colored() -> Mesh:
    mesh = bare()
    return mesh.with_(colors=0.5 + 0.4 * torch.sin(mesh.vertices * 4.0))


def tinted() -> Mesh:
    mesh = ring()
    factor = (0.7, 0.9, 0.5, 1.0)
    colors = torch.cat((0.6 + 0.3 * torch.sin(mesh.vertices * 4.0), torch.ones(len(mesh.vertices), 1)), dim=1)
    return mesh.with_(materials=(replace(mesh.materials[0], base_color_factor=factor),), colors=colors)


def several() -> Mesh:
    """Two materials without textures and one with, around the ring."""
    mesh = ring()
    side = mesh.vertices[mesh.faces].mean(1)
    index = (side[:, 0] > 0.3).long() + 2 * (side[:, 0] < -0.3).long()
    green = Material(name="green", base_color_factor=(0.05, 0.5, 0.1, 1.0))
    return mesh.with_(materials=(mesh.materials[0], green, replace(green, name="lime")), face_material=index)


KINDS = {"bare": bare, "plain": plain, "vertex colours": vertex_colored, "tinted": tinted, "several": several}


def inside(views: ViewSet, reach: int = 5) -> torch.Tensor:
    """(V, H, W) bool: pixels well inside the object."""
    return -torch.nn.functional.max_pool2d(-views.mask[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_edited_and_the_rest_keeps_its_bits(kind: str) -> None:
    mesh = KINDS[kind]()
    before = views_of(mesh)
    region = ball_region(mesh, FRONT, 0.4, 0.1)
    result = edit_texture(mesh, before, recolored(before), region, OPTIONS).mesh
    outside = ~region.faces()
    assert torch.equal(result.faces[outside], mesh.faces[outside])
    used = torch.unique(mesh.faces[outside])
    for name in ("vertices", "uv", "normals", "tangents", "colors"):
        if getattr(mesh, name) is not None:
            assert torch.equal(getattr(result, name)[used], getattr(mesh, name)[used]), name
    if mesh.materials:
        assert result.materials[: len(mesh.materials)][1:] == mesh.materials[1:]
    assert (result.name, result.units, result.transform is mesh.transform) == (mesh.name, mesh.units, True)
    after = views_of(result)
    core = inside(before)[0] & inside(after)[0]
    row = torch.arange(SIZE)
    near = core & ((row[:, None] - SIZE / 2).abs() < 8) & ((row[None] - SIZE / 2).abs() < 8)
    assert int(near.sum()) > 50
    assert float((after.rgb[0][near] - BLUE).abs().mean()) < 0.05
    assert float((after.rgb[2] - before.rgb[2])[inside(before)[2]].abs().max()) < 0.02, "seen from behind"


@pytest.mark.parametrize("kind", ["plain", "vertex colours", "tinted", "several"])
def test_textures_of_their_own_look_as_before(kind: str) -> None:
    mesh = KINDS[kind]()
    chosen = torch.ones(len(mesh.faces), dtype=torch.bool)
    result = own_textures(mesh, chosen, 1, SIZE, False)
    one, two = views_of(mesh), views_of(result)
    error = (one.rgb - two.rgb)[inside(one)].abs()
    assert float(error.mean()) < 0.012
    assert all(material.base_color_texture is not None for material in result.materials)
    assert result.colors is None
    assert torch.equal(result.vertices[result.faces], mesh.vertices[mesh.faces])


def test_overlapping_and_outlying_texture_coordinates_are_refused_or_replaced() -> None:
    mesh = ring()
    assert mesh.uv is not None
    folded = mesh.with_(uv=torch.where(mesh.uv > 0.5, 1.0 - mesh.uv, mesh.uv))
    before = views_of(folded)
    stretched = mesh.with_(uv=mesh.uv * 2.5)
    for wrong in (folded, stretched):
        before = views_of(wrong)
        with pytest.raises(Bundle3DError, match="new_uv"):
            edit_texture(wrong, before, recolored(before))
        options = TextureOptions(resolution=SIZE, new_uv=True)
        region = ball_region(wrong, FRONT, 0.4, 0.1)
        result = edit_texture(wrong, before, recolored(before), region, options).mesh
        assert [material.name for material in result.materials] == ["paint", "paint (edited)"]
        assert result.materials[0] == wrong.materials[0] and result.materials[1].orm_texture is not None
        outside = ~region.faces()
        assert torch.equal(result.uv[result.faces[outside]], wrong.uv[wrong.faces[outside]])


def test_overlap_elsewhere_does_not_matter() -> None:
    mesh = ring()
    behind = (mesh.vertices[mesh.faces][..., 2] < -0.5).all(1)
    crowded = mesh.with_(faces=torch.cat((mesh.faces, mesh.faces[behind])))
    before = views_of(crowded)
    result = edit_texture(crowded, before, recolored(before), ball_region(crowded, FRONT, 0.3, 0.05)).mesh
    assert result.uv is crowded.uv and result is not crowded


def test_whole_tiles_do_not_matter() -> None:
    mesh = ring()
    assert mesh.uv is not None
    material = replace(mesh.materials[0], repeat=True)
    moved = mesh.with_(materials=(material,), uv=mesh.uv + torch.tensor((3.0, -2.0)))
    before = views_of(moved)
    result = edit_texture(moved, before, recolored(before))
    assert result.mesh.uv is moved.uv and result.textures[0].changed > 1000


def test_textures_that_are_not_square() -> None:
    mesh = ring()
    texture = mesh.materials[0].base_color_texture
    assert texture is not None
    wide = texture.repeat_interleave(2, dim=1)
    mesh = mesh.with_(materials=(replace(mesh.materials[0], base_color_texture=wide),))
    before = views_of(mesh)
    result = edit_texture(mesh, before, recolored(before)).mesh
    shown = views_of(result)
    assert result.materials[0].base_color_texture.shape == (SIZE, 2 * SIZE, 3)
    assert float((shown.rgb - recolored(before).rgb)[inside(before)].abs().mean()) < 0.02


def test_a_surface_that_is_not_manifold_and_faces_both_ways() -> None:
    mesh = bare()
    turned = torch.arange(len(mesh.faces)) % 3 == 0
    faces = torch.where(turned[:, None], mesh.faces.flip(1), mesh.faces)
    fin = torch.tensor([[0, 1, 40], [0, 1, 60]])
    odd = plain().with_(faces=torch.cat((faces, fin)))
    before = views_of(odd)
    shown = views_of(edit_texture(odd, before, recolored(before), options=OPTIONS).mesh)
    error = (shown.rgb - BLUE).abs().mean(-1)[inside(before)]
    assert float((error < 0.1).float().mean()) > 0.9
