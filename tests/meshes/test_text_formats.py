"""OBJ, PLY and STL."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.limits import Limits
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.write import mesh_to_bytes, write_mesh
from PIL import Image

from .rich_mesh import rich_mesh
from .shapes import sphere

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def test_obj_round_trip(tmp_path: Path) -> None:
    mesh = rich_mesh().with_(units="centimeter")
    files = write_mesh(mesh, tmp_path / "rich mesh.obj")
    assert {path.suffix for path in files} == {".obj", ".mtl", ".png"}
    again = read_mesh(tmp_path / "rich mesh.obj")
    assert torch.equal(again.vertices, mesh.vertices) and torch.equal(again.faces, mesh.faces)
    assert again.face_material is not None and mesh.face_material is not None
    assert torch.equal(again.face_material, mesh.face_material)
    assert again.uv is not None and again.normals is not None and mesh.uv is not None and mesh.normals is not None
    assert torch.allclose(again.uv, mesh.uv, atol=1e-7) and torch.allclose(again.normals, mesh.normals, atol=1e-7)
    assert again.colors is not None and mesh.colors is not None
    assert torch.allclose(again.colors, mesh.colors[:, :3], atol=1e-6)
    assert again.units == "centimeter" and again.name == "Rich_mesh_\u00fc"
    for a, b in zip(again.materials, mesh.materials):
        assert a.base_color_factor == pytest.approx(b.base_color_factor, abs=1e-6)
        assert a.emissive_factor == pytest.approx(b.emissive_factor, rel=1e-6)
        assert (a.metallic_factor, a.roughness_factor, a.has_occlusion) == (
            b.metallic_factor,
            b.roughness_factor,
            b.has_occlusion,
        )
        assert a.textures.keys() == b.textures.keys()
        assert all(torch.equal(a.textures[name], b.textures[name]) for name in a.textures)
    assert not again.materials[0].repeat and again.materials[1].repeat


def test_obj_polygons_negative_indices_and_seams() -> None:
    text = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\nf -4/1 -3/1 -2/2 -1/2\nf 1/2 2/2 \\\n3/2\n"
    mesh = read_mesh(text.encode(), "obj")
    assert mesh.faces.shape == (3, 3)
    assert mesh.vertices.shape[0] == 6  # corners 1 and 2 once with each UV
    assert mesh.uv is not None
    corner = mesh.vertices[mesh.faces].sum(-1), mesh.uv[mesh.faces]
    assert corner[0].tolist() == [[0, 1, 2], [0, 2, 1], [0, 1, 2]]
    assert corner[1][0].tolist() == [[0, 1], [0, 1], [1, 0]]


def test_textures_lie_beside_their_material_library(tmp_path: Path) -> None:
    (tmp_path / "parts" / "maps").mkdir(parents=True)
    levels = {"parts/maps/a.png": 10, "b.png": 20, "c.png": 30, "d.png": 99, "parts/d.png": 40}
    for name, level in levels.items():
        Image.new("RGB", (2, 2), (level,) * 3).save(tmp_path / name)
    names = {"a": "maps/a.png", "b": "../b.png", "c": "c.png", "d": "d.png", "e": "../missing.png"}
    library = "".join(f"newmtl {name}\nmap_Kd {path}\n" for name, path in names.items())
    (tmp_path / "parts" / "m.mtl").write_text(library)
    faces = "".join(f"usemtl {name}\nf 1 2 3\n" for name in names)
    (tmp_path / "m.obj").write_text(f"mtllib parts/m.mtl\n{TRIANGLE}{faces}")
    textures = [material.base_color_texture for material in read_mesh(tmp_path / "m.obj").materials]
    assert [None if t is None else int(t[0, 0, 0]) for t in textures] == [10, 20, 30, 40, None]
    (tmp_path / "parts" / "m.mtl").write_text("newmtl a\nmap_Kd ../../out.png\n")
    with pytest.raises(Bundle3DError, match="folder of the OBJ"):
        read_mesh(tmp_path / "m.obj")


def test_obj_from_bytes_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\n")
    mesh = read_mesh(f"mtllib m.mtl\n{TRIANGLE}usemtl a\nf 1 2 3\n".encode(), "obj")
    assert mesh.materials == ()


def test_mtl_of_other_programs(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (10, 20, 30)).save(tmp_path / "wood 1.png")
    Image.new("L", (4, 4), 77).save(tmp_path / "alpha.png")
    (tmp_path / "m.mtl").write_text(
        "newmtl a\nKd 1 1 1\nNs 198\nTr 0.25\nmap_Kd -s 1 1 1 -bm 0.5 wood 1.png\nmap_d alpha.png\n"
        "newmtl b\nKd 0.5 0.5 0.5\nmap_Kd missing.png\n"
    )
    body = "mtllib m.mtl\n" + TRIANGLE + "usemtl b\nf 1 2 3\nusemtl a\nf 1 2 3\nusemtl unknown\nf 1 2 3\n"
    (tmp_path / "m.obj").write_text(body)
    b, a, unknown = read_mesh(tmp_path / "m.obj").materials
    assert b.base_color_factor[0] == pytest.approx(0.2140, abs=1e-3) and not b.textures
    assert a.roughness_factor == pytest.approx(0.1) and a.base_color_factor[3] == 0.75 and a.alpha_mode == "BLEND"
    assert a.base_color_texture is not None and a.base_color_texture[0, 0].tolist() == [10, 20, 30, 77]
    assert unknown.name == "unknown"


@pytest.mark.parametrize("name", ["../m.mtl", "/etc/hostname", "C:\\m.mtl", "http://host/m.mtl", "link.mtl", "a\0b"])
def test_material_files_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "m.mtl").write_text("newmtl a\n")
    (folder / "link.mtl").symlink_to(tmp_path / "m.mtl")
    (folder / "m.obj").write_bytes(f"mtllib {name}\n{TRIANGLE}f 1 2 3\n".encode())
    with pytest.raises(Bundle3DError, match="folder of the OBJ"):
        read_mesh(folder / "m.obj")


def test_ply_round_trip() -> None:
    mesh = rich_mesh().with_(units="foot")
    again = read_mesh(mesh_to_bytes(mesh, "ply"))
    assert torch.equal(again.vertices, mesh.vertices) and torch.equal(again.faces, mesh.faces)
    assert again.uv is not None and again.normals is not None and again.colors is not None
    assert mesh.uv is not None and mesh.normals is not None and mesh.colors is not None
    assert torch.allclose(again.uv, mesh.uv, atol=1e-6) and torch.allclose(again.normals, mesh.normals, atol=1e-6)
    assert torch.allclose(again.colors, mesh.colors, atol=0.005) and again.units == "foot"
    assert mesh_to_bytes(again, "ply")[-1000:] == mesh_to_bytes(mesh, "ply")[-1000:]


ASCII_PLY = """ply
format ascii 1.0
element vertex 4
property double x
property double y
property double z
property uchar red
property uchar green
property uchar blue
element face 2
property list uchar int vertex_indices
end_header
0 0 0 255 0 0
1 0 0 0 255 0
1 1 0 0 0 255
0 1 0 255 255 255
4 0 1 2 3
3 0 1 2
"""


def test_ascii_ply_with_polygons_of_two_sizes() -> None:
    mesh = read_mesh(ASCII_PLY.encode())
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.colors is not None and mesh.colors[1].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_ply_with_polygons_of_two_sizes(order: str) -> None:
    endian = {"<": "little", ">": "big"}[order]
    head = ASCII_PLY.partition("end_header\n")[0].replace("ascii", f"binary_{endian}_endian")
    rows = [(0, 0, 0, 255, 0, 0), (1, 0, 0, 0, 255, 0), (1, 1, 0, 0, 0, 255), (0, 1, 0, 255, 255, 255)]
    body = b"".join(struct.pack(order + "3d3B", *row) for row in rows)
    body += struct.pack(order + "B4i", 4, 0, 1, 2, 3) + struct.pack(order + "B3i", 3, 0, 1, 2)
    mesh = read_mesh((head + "end_header\n").encode() + body)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


def test_stl_round_trip() -> None:
    mesh = sphere(subdivisions=2).with_(units="millimeter")
    again = read_mesh(mesh_to_bytes(mesh, "stl"))
    assert torch.equal(again.vertices[again.faces], mesh.vertices[mesh.faces])
    assert len(again.vertices) == len(mesh.vertices) and again.units == "millimeter"


def test_ascii_stl() -> None:
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 {} 0\nvertex 0 1 0\nendloop\nendfacet\n"
    facets = facet.format(0) + facet.format(2)
    mesh = read_mesh(f"solid vertex a b c\n{facets}endsolid\n".encode())
    assert mesh.faces.shape == (2, 3) and mesh.vertices.shape == (4, 3)


def test_mirroring_transforms_keep_surfaces_facing_outward() -> None:
    mesh = sphere(subdivisions=1).with_(transform=torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64)))
    for format in ("obj", "ply", "stl"):
        again = read_mesh(mesh_to_bytes(mesh, format), format)
        centres = again.vertices[again.faces].mean(1)
        assert bool(((again.face_normals() * centres).sum(1) > 0).all()), format


@pytest.mark.parametrize("format", ["obj", "ply"])
def test_a_far_place_survives(format: str) -> None:
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, 3] = torch.tensor([4e6, 5e6, -6e6])
    mesh = sphere(subdivisions=1).with_(transform=transform)
    again = read_mesh(mesh_to_bytes(mesh, format), format)
    world = again.vertices.double() + again.transform[:3, 3]
    assert np.allclose(world, mesh.vertices.double() + transform[:3, 3], rtol=0, atol=1e-6)


def test_limits_hold_for_every_format() -> None:
    mesh = sphere(subdivisions=3)
    for format in ("glb", "obj", "ply", "stl"):
        data = mesh_to_bytes(mesh, format)
        assert read_mesh(data, format).faces.shape == mesh.faces.shape
        with pytest.raises(Bundle3DError, match="at most 100"):
            read_mesh(data, format, Limits(faces=100))
        with pytest.raises(Bundle3DError, match="bytes"):
            read_mesh(data, format, Limits(file_bytes=100))
