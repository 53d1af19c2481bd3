"""Whole edits of meshes as they come from elsewhere: the right result, or one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.editing.edit_mesh import GEOMETRY, TEXTURE, edit_mesh
from bundle3d.pipelines.editing.mesh_difference import mesh_difference, surface_distance
from bundle3d.pipelines.editing.texture import TextureOptions
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.tests.meshes.shapes import box, merge, torus

from .cases import BLUE, ball_region, recolored, ring, views_of

FREE = TextureOptions(resolution=128, new_uv=True)
OUTSIDE = torch.tensor((0.0, 0.0, 0.95))  # on the front of the torus


def without_uv() -> Mesh:
    return torus(0.65, 0.3, 24, 12).with_(name="plain")


def overlapping() -> Mesh:
    mesh = ring()
    assert mesh.uv is not None
    return mesh.with_(uv=mesh.uv * 0.5 % 0.25)


def several_materials() -> Mesh:
    mesh = ring()
    number = (mesh.vertices[mesh.faces].mean(1)[:, 0] > 0.0).long()
    return mesh.with_(
        materials=(mesh.materials[0], Material("metal", base_color_factor=(0.4, 0.1, 0.1, 1.0), metallic_factor=1.0)),
        face_material=number,
    )


def not_manifold() -> Mesh:
    """A torus with a sheet through it that shares an edge with it three times over, and a face without area."""
    mesh = torus(0.65, 0.3, 24, 12)
    first = mesh.faces[0]
    extra = torch.stack((first, first.flip(0), torch.stack((first[0], first[0], first[1]))))
    return mesh.with_(faces=torch.cat((mesh.faces, extra)), name="sheet")


MESHES: dict[str, Callable[[], Mesh]] = {
    "no texture coordinates": without_uv,
    "overlapping texture coordinates": overlapping,
    "several materials": several_materials,
    "not manifold": not_manifold,
}


@pytest.mark.parametrize("kind", MESHES)
def test_it_becomes_blue_and_keeps_its_surface(kind: str) -> None:
    mesh = MESHES[kind]()
    before = views_of(mesh, 96)
    edit = edit_mesh(mesh, before, recolored(before), TEXTURE, options=FREE)
    assert (edit.mesh.name, edit.mesh.units) == (mesh.name, mesh.units)
    assert torch.equal(edit.mesh.vertices[edit.mesh.faces], mesh.vertices[mesh.faces])
    shown = views_of(edit.mesh, 96)
    inner = shown.mask == 1.0
    assert float((shown.rgb[inner] - BLUE).abs().mean()) < 0.05
    difference = mesh_difference(mesh, edit.mesh, surface_distance(mesh, edit.mesh))
    assert difference.largest_distance == pytest.approx(0.0, abs=1e-6)
    assert edit_mesh(mesh, before, before, TEXTURE, options=FREE).mesh is mesh


def test_overlaps_are_refused_in_a_sentence_without_new_uv() -> None:
    mesh = overlapping()
    before = views_of(mesh, 96)
    with pytest.raises(Bundle3DError, match=r"^Expected texture coordinates of their own .*; switch new_uv on.*\.$"):
        edit_mesh(mesh, before, recolored(before))


def test_large_textures_change_where_they_may() -> None:
    mesh = ring()
    paint = mesh.materials[0]
    assert paint.base_color_texture is not None
    large = paint.base_color_texture.repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert large.shape == (4096, 4096, 3)
    mesh = mesh.with_(materials=(replace(paint, base_color_texture=large),))
    before = views_of(mesh, 96)
    edit = edit_mesh(mesh, before, recolored(before), region=ball_region(mesh, OUTSIDE, 0.15))
    (texture,) = edit.colors
    assert (texture.height, texture.width) == (4096, 4096) and 10_000 < texture.changed < 1_000_000
    assert mesh.materials[0].base_color_texture is large
    with pytest.raises(Bundle3DError, match=r"at most 8192 texels a side, but 4 times .* is 16384; lower"):
        edit_mesh(mesh, before, recolored(before), options=TextureOptions(scale=4))


def test_a_file_whose_texture_is_missing_gets_one(tmp_path: Path) -> None:
    solid = box((1.0, 1.0, 1.0))
    lines = ["mtllib box.mtl", "usemtl wall"]
    lines += ["v " + " ".join(map(str, vertex)) for vertex in solid.vertices.tolist()]
    lines += ["vt 0.2 0.2", *("f " + " ".join(f"{index + 1}/1" for index in face) for face in solid.faces.tolist())]
    (tmp_path / "box.obj").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "box.mtl").write_text("newmtl wall\nKd 0.8 0.2 0.2\nmap_Kd lost.png\n", "utf-8")
    mesh = normalise(read_mesh(tmp_path / "box.obj"), 1.5)
    before = views_of(mesh, 96)
    edit = edit_mesh(mesh, before, recolored(before), options=FREE)
    shown = views_of(edit.mesh, 96)
    assert float((shown.rgb[shown.mask == 1.0] - BLUE).abs().mean()) < 0.05
    assert edit.mesh.materials[-1].base_color_texture is not None


def test_an_empty_mesh_and_geometry_without_a_target_are_refused() -> None:
    mesh = ring()
    before = views_of(mesh, 48)
    empty = Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), name="nothing")
    with pytest.raises(Bundle3DError, match="nothing is empty; load another mesh"):
        edit_mesh(empty, before, recolored(before))
    with pytest.raises(Bundle3DError, match="ISOMER Reconstruct"):
        edit_mesh(mesh, before, recolored(before), GEOMETRY)


def test_parts_that_lie_inside_each_other_are_edited_apart() -> None:
    mesh = merge(box((1.6, 1.6, 1.6)), box((0.4, 0.4, 0.4))).with_(name="nested")
    before = views_of(mesh, 96)
    edit = edit_mesh(mesh, before, recolored(before), options=FREE)
    assert torch.equal(edit.mesh.vertices[edit.mesh.faces], mesh.vertices[mesh.faces])
    shown = views_of(edit.mesh, 96)
    assert float((shown.rgb[shown.mask == 1.0] - BLUE).abs().mean()) < 0.05
