from __future__ import annotations

import dataclasses
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.normalise import normalise
from bundle3d.pipelines.meshes.read import read_mesh
from bundle3d.pipelines.meshes.write import mesh_to_bytes, write_mesh

from .rich_mesh import noise, rich_mesh
from .shapes import sphere

ATTRIBUTES = ("vertices", "faces", "uv", "normals", "tangents", "colors", "face_material", "transform")


def root_of(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", data, 12)
    root: dict[str, Any] = json.loads(data[20 : 20 + length])
    return root


def assert_same(actual: Mesh, expected: Mesh) -> None:
    """Equal to the bit, textures included."""
    for name in ATTRIBUTES:
        a, b = getattr(actual, name), getattr(expected, name)
        assert (a is None) == (b is None), name
        assert a is None or torch.equal(a, b), name
    assert (actual.name, actual.units) == (expected.name, expected.units)
    assert len(actual.materials) == len(expected.materials)
    for a, b in zip(actual.materials, expected.materials):
        for field in dataclasses.fields(Material):
            left, right = getattr(a, field.name), getattr(b, field.name)
            same = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
            assert same, field.name


def test_round_trip_is_lossless() -> None:
    mesh = rich_mesh()
    assert_same(read_mesh(mesh_to_bytes(mesh, "glb")), mesh)


@pytest.mark.parametrize("units", ["meter", "millimeter", "cubit"])
def test_transform_and_units_survive(units: str) -> None:
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = torch.tensor([[0.0, -2, 0], [2, 0, 0], [0, 0, 2]])
    transform[:3, 3] = torch.tensor([100.0, -5e6, 0.25])
    mesh = rich_mesh().with_(transform=transform, units=units)
    again = read_mesh(mesh_to_bytes(mesh, "glb"))
    assert torch.allclose(again.transform, transform, rtol=1e-14)
    assert_same(again.with_(transform=transform), mesh)


def test_other_readers_see_meters() -> None:
    mesh = sphere(subdivisions=1).with_(units="millimeter")
    matrix = root_of(mesh_to_bytes(mesh, "glb"))["nodes"][0]["matrix"]
    assert matrix[0] == pytest.approx(0.001) and matrix[15] == 1.0


def test_a_normalised_mesh_exports_to_its_own_place() -> None:
    ball = sphere(subdivisions=1)
    mesh = ball.with_(vertices=ball.vertices * 70 + torch.tensor([5.0, 900.0, -30.0]))
    again = read_mesh(mesh_to_bytes(normalise(mesh), "glb"))
    world = again.vertices.double() @ again.transform[:3, :3].T + again.transform[:3, 3]
    assert torch.allclose(world.float(), mesh.vertices, atol=2e-4)


def test_files_are_valid(tmp_path: Path, gltf_validate: Callable[[Path], dict[str, Any]]) -> None:
    plain = rich_mesh().with_(uv=None, tangents=None)
    degenerate = rich_mesh().with_(tangents=torch.zeros(40, 4), normals=torch.zeros(40, 3))
    untangled = rich_mesh().with_(tangents=None, normals=None)
    moved = normalise(rich_mesh().with_(units="inch"))
    large = sphere(subdivisions=6)
    large = large.with_(colors=torch.rand(len(large.vertices), 3), materials=(Material(),))
    for index, mesh in enumerate((rich_mesh(), plain, degenerate, untangled, moved, large, sphere(subdivisions=2))):
        (path,) = write_mesh(mesh, tmp_path / f"{index}.glb", extras={"title": "a test"})
        report = gltf_validate(path)
        assert report["issues"]["numWarnings"] == 0, report["issues"]["messages"]


def test_tangents_are_computed_for_a_normal_map() -> None:
    mesh = rich_mesh().with_(tangents=None)
    assert read_mesh(mesh_to_bytes(mesh, "glb")).tangents is not None
    flat = dataclasses.replace(mesh.materials[0], normal_texture=None)
    assert read_mesh(mesh_to_bytes(mesh.with_(materials=(flat, flat)), "glb")).tangents is None


def test_equal_textures_are_stored_once() -> None:
    texture = noise(8, 8, 3, 0)
    materials = (Material("a", base_color_texture=texture), Material("b", base_color_texture=texture))
    root = root_of(mesh_to_bytes(rich_mesh().with_(materials=materials), "glb"))
    assert len(root["images"]) == len(root["textures"]) == 1


def test_extras_are_kept_and_checked() -> None:
    assert root_of(mesh_to_bytes(sphere(subdivisions=1), "glb", {"seed": 7}))["asset"]["extras"] == {"seed": 7}
    with pytest.raises(Bundle3DError, match="extras"):
        mesh_to_bytes(sphere(subdivisions=1), "glb", {"bad": object()})


def test_refusals() -> None:
    mesh = sphere(subdivisions=1)
    with pytest.raises(Bundle3DError, match="triangles"):
        mesh_to_bytes(mesh.with_(faces=mesh.faces[:0]), "glb")
    with pytest.raises(Bundle3DError, match="material indices"):
        mesh_to_bytes(mesh.with_(face_material=torch.full((len(mesh.faces),), 2)), "glb")
    with pytest.raises(Bundle3DError, match="fbx"):
        mesh_to_bytes(mesh, "fbx")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "blocked.glb").mkdir()
    with pytest.raises(Bundle3DError, match="folder"):
        write_mesh(sphere(subdivisions=1), tmp_path / "blocked.glb")
    assert [path.name for path in tmp_path.iterdir()] == ["blocked.glb"]


@pytest.mark.parametrize("fault", [0, 1])
def test_a_failed_write_takes_no_older_file_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int) -> None:
    before = {path: path.read_bytes() for path in write_mesh(rich_mesh(), tmp_path / "m.obj")}
    assert len(before) > 2
    replace, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == fault + 1:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(Bundle3DError, match="Input/output error"):
        write_mesh(rich_mesh().with_(name="another"), tmp_path / "m.obj")
    assert set(tmp_path.iterdir()) == set(before)
    if fault == 0:
        assert all(path.read_bytes() == data for path, data in before.items())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_writing_leaves_the_umask_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").touch()

    def refuse(mask: int) -> int:
        raise AssertionError("the umask is one for all threads of a server")

    monkeypatch.setattr(os, "umask", refuse)
    (path,) = write_mesh(sphere(subdivisions=1), tmp_path / "m.glb")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode
