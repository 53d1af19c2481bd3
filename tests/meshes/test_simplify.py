from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material
from bundle3d.pipelines.meshes.simplify import simplify
from bundle3d.pipelines.meshes.topology import euler_characteristic, is_manifold, is_watertight
from bundle3d.pipelines.meshes.weld import welded_faces
from bundle3d.pipelines.texturing.unwrap import unwrap

from .shapes import box, cylinder, merge, soup, sphere, torus, volume


@pytest.mark.parametrize("target", [2000, 500, 100])
def test_closed_shapes_stay_closed(target: int) -> None:
    for mesh in (sphere(subdivisions=4), torus(columns=96, rows=48)):
        fewer = simplify(mesh, target)
        assert fewer.faces.shape[0] <= target * 1.05
        assert is_watertight(fewer.faces) and is_manifold(fewer.faces)
        assert euler_characteristic(fewer.faces) == euler_characteristic(mesh.faces)
        assert volume(fewer) == pytest.approx(volume(mesh), rel=0.06 if target > 100 else 0.15)


def test_size_does_not_matter() -> None:
    mesh = sphere(subdivisions=4)
    small = simplify(mesh.with_(vertices=mesh.vertices * 1e-4), 500)
    large = simplify(mesh.with_(vertices=mesh.vertices * 1e4 + 5e3), 500)
    assert small.faces.shape[0] <= 510 and large.faces.shape[0] <= 510
    assert is_watertight(small.faces) and is_watertight(large.faces)


def test_soup_is_welded_first() -> None:
    fewer = simplify(soup(sphere()), 200)
    assert is_watertight(fewer.faces) and fewer.faces.shape[0] <= 210


def test_colours_follow_the_surface() -> None:
    mesh = sphere(subdivisions=4)
    fewer = simplify(mesh.with_(colors=mesh.vertices * 0.5 + 0.5), 800)
    assert torch.allclose(fewer.colors, fewer.vertices * 0.5 + 0.5, atol=0.02)


def test_materials_follow_the_surface() -> None:
    mesh = merge(sphere(subdivisions=3), sphere(0.5, 3, (3, 0, 0)))
    second = (mesh.vertices[mesh.faces].mean(1)[:, 0] > 2).long()
    mesh = mesh.with_(face_material=second, materials=(Material(), Material()))
    fewer = simplify(mesh, 600)
    assert torch.equal(fewer.face_material, (fewer.vertices[fewer.faces].mean(1)[:, 0] > 2).long())


def test_texture_coordinates_stay_on_their_side_of_the_seams() -> None:
    """The uv of the new mesh must lead to nearly the same surface point as on the old one."""
    mesh, _ = unwrap(sphere(subdivisions=4), 512)
    fewer = simplify(mesh, 1000)
    assert is_watertight(welded_faces(fewer))
    span = fewer.uv[fewer.faces].amax(1) - fewer.uv[fewer.faces].amin(1)
    solid = fewer.vertices[fewer.faces].amax(1) - fewer.vertices[fewer.faces].amin(1)
    ratio = span.amax(1) / solid.amax(1)
    assert float(ratio.max()) < 2.5 * float(ratio.median())
    assert fewer.vertices.shape[0] < 700


def test_seam_within_one_chart() -> None:
    mesh = cylinder(columns=64, rows=33)
    u = torch.arange(64).repeat(33) / 64
    seam = mesh.faces.clone()
    wraps = (seam % 64).amax(1) - (seam % 64).amin(1) > 32
    low = wraps[:, None] & (seam % 64 < 32)
    count = mesh.vertices.shape[0]
    seam[low] = seam[low] // 64 + count
    rim = torch.arange(33) * 64
    textured = mesh.with_(
        vertices=torch.cat((mesh.vertices, mesh.vertices[rim])),
        faces=seam,
        uv=torch.stack((torch.cat((u, torch.ones(33))), torch.zeros(count + 33)), 1),
    )
    fewer = simplify(textured, 600)
    span = fewer.uv[fewer.faces][..., 0].amax(1) - fewer.uv[fewer.faces][..., 0].amin(1)
    assert float(span.max()) < 0.4


def test_enough_already_returns_the_mesh() -> None:
    assert simplify(box(), 100).faces.shape[0] == 12


def test_refusal() -> None:
    with pytest.raises(Bundle3DError, match="target"):
        simplify(sphere(), 3)
