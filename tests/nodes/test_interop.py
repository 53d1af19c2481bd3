"""Conversion from and to core MESH, 3D files and trimesh objects."""

from __future__ import annotations

import copy
import dataclasses
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.write import mesh_to_bytes, write_mesh
from bundle3d.tests.meshes.rich_mesh import noise, rich_mesh
from bundle3d.tests.meshes.shapes import sphere


@pytest.fixture(scope="module")
def interop() -> Any:
    from bundle3d.nodes import interop

    return interop


@pytest.fixture(scope="module")
def types() -> Any:
    from comfy_api.latest import Types

    return Types


def textured(factor: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0), seed: int = 0) -> Mesh:
    mesh = sphere(subdivisions=1)
    uv = torch.rand(len(mesh.vertices), 2, generator=torch.Generator().manual_seed(seed))
    base, orm = noise(4 + seed, 8, 3, 1), noise(4, 4, 3, 2)
    material = Material("m", factor, 0.5, 0.25, base_color_texture=base, orm_texture=orm)
    return mesh.with_(uv=uv, normals=mesh.vertex_normals(), materials=(material,))


def test_our_own_meshes_come_back_whole(interop: Any) -> None:
    meshes = [rich_mesh().with_(units="inch"), sphere(subdivisions=1)]
    core, files = interop.emit(meshes)
    again = interop.accept(core)
    assert len(files) == 2 and all(a is b for a, b in zip(again, meshes))


def test_an_edited_mesh_is_read_anew(interop: Any) -> None:
    core = interop.to_core([textured()])
    core.vertices = core.vertices * 2
    (again,) = interop.accept(core)
    assert torch.equal(again.vertices, textured().vertices * 2)
    material = again.materials[0]
    assert torch.equal(material.base_color_texture, textured().materials[0].base_color_texture)
    assert torch.equal(material.orm_texture, textured().materials[0].orm_texture)
    assert (material.metallic_factor, material.roughness_factor) == (0.5, 0.25)
    assert torch.equal(again.normals, textured().normals)


def test_an_edited_batch_keeps_the_materials_of_all_items(interop: Any) -> None:
    leaf = Material(
        "leaf", metallic_factor=0.1, base_color_texture=noise(4, 4, 4, 3), alpha_mode="MASK", alpha_cutoff=0.3
    )
    glass = Material("glass", roughness_factor=0.2, normal_scale=0.4, alpha_mode="BLEND", double_sided=False)
    meshes = [textured(), textured().with_(materials=(leaf,)), sphere(subdivisions=1).with_(materials=(glass,))]
    core = copy.copy(interop.to_core(meshes))
    assert core.texture.shape[3] == 3  # core's Save GLB takes no other
    core.vertices = core.vertices * 2
    for again, mesh in zip(interop.accept(core), meshes):
        before, after = mesh.materials[0], again.materials[0]
        assert dataclasses.replace(before, **dict.fromkeys(before.textures)) == dataclasses.replace(
            after, **dict.fromkeys(after.textures)
        )
        assert before.textures.keys() == after.textures.keys()
        assert all(torch.equal(after.textures[name], image) for name, image in before.textures.items())
    core.texture = torch.full((3, 2, 2, 3), 0.2)
    _, painted, _ = interop.accept(core)
    assert painted.materials[0].base_color_texture.unique().tolist() == [51]
    assert painted.materials[0].metallic_factor == 0.1 and painted.materials[0].alpha_cutoff == 0.3
    core.material = {"metallic_factor": 0.9}
    assert [mesh.materials[0].metallic_factor for mesh in interop.accept(core)] == [0.9] * 3


def test_fields_that_were_added_are_read(interop: Any) -> None:
    core = interop.to_core([sphere(subdivisions=1)])
    added = {
        "uvs": torch.rand(1, 42, 2),
        "vertex_colors": torch.rand(1, 42, 3),
        "normals": torch.rand(1, 42, 3),
        "material": {"metallic_factor": 0.5},
        "unlit": True,
    }
    for name, value in added.items():
        edited = copy.copy(core)
        setattr(edited, name, value)
        (again,) = interop.accept(edited)
        found = getattr(again, interop.VERTEX_FIELDS.get(name, "materials"))
        assert found is not None and len(found) == (42 if name in interop.VERTEX_FIELDS else 1), name
    painted = copy.copy(interop.to_core([sphere(subdivisions=1).with_(uv=torch.rand(42, 2))]))
    painted.texture = torch.full((1, 2, 2, 3), 0.2)
    assert interop.accept(painted)[0].materials[0].base_color_texture.unique().tolist() == [51]


def test_a_mesh_of_core_nodes(interop: Any, types: Any) -> None:
    vertices, faces = torch.rand(2, 5, 3), torch.tensor([[[0, 1, 2], [0, 0, 0]], [[2, 3, 4], [1, 2, 3]]])
    core = types.MESH(
        vertices,
        faces,
        uvs=torch.rand(2, 5, 2),
        vertex_colors=torch.rand(2, 5, 4),
        texture=torch.full((2, 4, 4, 3), 0.5),
        vertex_counts=torch.tensor([3, 5]),
        face_counts=torch.tensor([1, 2]),
    )
    first, second = interop.accept(core)
    assert first.vertices.shape == (3, 3) and first.faces.tolist() == [[0, 1, 2]]
    assert second.faces.shape == (2, 3) and second.colors.shape == (5, 4)
    assert int(second.materials[0].base_color_texture[0, 0, 0]) == 128
    assert second.materials[0].metallic_factor == 0.0 and not second.materials[0].repeat


def test_pbr_fields_of_newer_cores(interop: Any) -> None:
    core = SimpleNamespace(
        vertices=torch.rand(1, 3, 3),
        faces=torch.tensor([[[0, 1, 2]]]),
        uvs=torch.rand(1, 3, 2),
        normals=torch.rand(1, 3, 3),
        tangents=torch.rand(1, 3, 4),
        texture=torch.ones(1, 2, 2, 4),
        metallic_roughness=torch.zeros(1, 2, 2, 3),
        normal_map=torch.full((1, 2, 2, 3), 0.5),
        emissive=torch.ones(1, 2, 2, 3),
        occlusion_in_mr=True,
        material={
            "base_color_factor": [0.1, 0.2, 0.3, 0.4],
            "metallic_factor": 0.7,
            "roughness_factor": 0.8,
            "emissive_factor": [1.0, 0.5, 0.0],
            "emissive_strength": 2.0,
            "normal_scale": 0.6,
            "occlusion_strength": 0.9,
            "double_sided": False,
        },
    )
    (mesh,) = interop.accept(core)
    material = mesh.materials[0]
    assert mesh.tangents.shape == (3, 4) and mesh.normals.shape == (3, 3)
    assert material.base_color_factor == (0.1, 0.2, 0.3, 0.4) and material.emissive_factor == (2.0, 1.0, 0.0)
    assert (material.metallic_factor, material.roughness_factor) == (0.7, 0.8)
    assert (material.normal_scale, material.occlusion_strength, material.double_sided) == (0.6, 0.9, False)
    assert material.has_occlusion and len(material.textures) == 4
    assert material.base_color_texture.shape[2] == 4


def test_batches_of_different_size_are_padded(interop: Any) -> None:
    colored = sphere(subdivisions=1).with_(colors=torch.rand(42, 3))
    core = interop.to_core([textured(seed=1), sphere(subdivisions=2), colored])
    assert core.vertex_counts.tolist() == [42, 162, 42] and core.face_counts.tolist() == [80, 320, 80]
    assert core.vertices.shape == (3, 162, 3) and core.texture.shape == (3, 5, 8, 3)
    assert core.uvs.shape == (3, 162, 2) and bool((core.texture[1] == 1).all())
    assert bool((core.vertex_colors[1, :162] == 1).all())
    core.faces = core.faces.clone()
    assert [len(mesh.faces) for mesh in interop.accept(core)] == [80, 320, 80]


def test_core_meshes_stand_in_the_world(interop: Any) -> None:
    transform = torch.diag(torch.tensor([-2.0, 2.0, 2.0, 1.0], dtype=torch.float64))
    transform[0, 3] = 5.0
    mesh = sphere(subdivisions=2).with_(transform=transform, normals=sphere(subdivisions=2).vertex_normals())
    core = interop.to_core([mesh])
    assert torch.allclose(core.vertices[0].mean(0), torch.tensor([5.0, 0.0, 0.0]), atol=1e-5)
    plain = Mesh(core.vertices[0], core.faces[0])
    outward = plain.vertices[plain.faces].mean(1) - torch.tensor([5.0, 0.0, 0.0])
    assert bool(((plain.face_normals() * outward).sum(1) > 0).all())
    assert torch.allclose(core.normals[0], plain.vertex_normals(), atol=0.05)


def test_base_colour_factors_are_multiplied_in(interop: Any) -> None:
    core = interop.to_core([textured((0.25, 1.0, 0.0, 1.0))])
    before = textured().materials[0].base_color_texture.double() / 255
    linear = torch.where(before <= 0.04045, before / 12.92, ((before + 0.055) / 1.055) ** 2.4)
    expected = torch.where(linear / 4 <= 0.0031308, linear / 4 * 12.92, 1.055 * (linear / 4) ** (1 / 2.4) - 0.055)
    assert torch.allclose(core.texture[0, ..., 0].double(), expected[..., 0], atol=0.5 / 255 + 1e-6)
    assert torch.equal(core.texture[0, ..., 1].double(), before[..., 1].float().double())
    plain = sphere(subdivisions=1).with_(materials=(Material(base_color_factor=(0.1, 0.2, 0.3, 1.0)),))
    assert torch.allclose(interop.to_core([plain]).vertex_colors[0], torch.tensor([0.1, 0.2, 0.3]).expand(42, 3))


def test_several_materials_become_colours_split_at_their_borders(interop: Any) -> None:
    mesh = sphere(subdivisions=1)
    materials = (Material("r", (1.0, 0.0, 0.0, 1.0)), Material("b", (0.0, 0.0, 1.0, 1.0)))
    mesh = mesh.with_(materials=materials, face_material=(torch.arange(80) >= 30).long())
    core = interop.to_core([mesh])
    colors = core.vertex_colors[0][core.faces[0]]
    assert bool((colors[:30] == torch.tensor([1.0, 0, 0])).all())
    assert bool((colors[30:] == torch.tensor([0, 0, 1.0])).all())
    assert torch.equal(core.vertices[0][core.faces[0]], mesh.vertices[mesh.faces])


def test_several_textures_become_an_atlas(interop: Any) -> None:
    mesh = textured()
    other = Material("plain", (0.0, 1.0, 0.0, 1.0))
    mesh = mesh.with_(materials=(*mesh.materials, other), face_material=(torch.arange(80) >= 30).long())
    core = interop.to_core([mesh])
    assert core.texture.shape[0] == 1 and getattr(core, "vertex_colors", None) is None
    uv = core.uvs[0][core.faces[0]].mean(1)[30:]
    size = torch.tensor([core.texture.shape[2], core.texture.shape[1]])
    column, row = (uv * size).long().unbind(1)
    assert torch.allclose(core.texture[0, row, column], torch.tensor([0.0, 1.0, 0.0]), atol=1e-3)


def test_files_keep_everything(interop: Any, types: Any, tmp_path: Path) -> None:
    mesh = rich_mesh()
    (again,) = interop.accept(interop.to_file(mesh))
    assert torch.equal(again.vertices, mesh.vertices) and len(again.materials) == 2
    write_mesh(mesh, tmp_path / "m.obj")
    (from_disk,) = interop.accept(types.File3D(str(tmp_path / "m.obj")))
    assert len(from_disk.materials[0].textures) == 4
    (stl,) = interop.accept(types.File3D(BytesIO(mesh_to_bytes(mesh, "stl")), "stl"))
    assert stl.faces.shape == mesh.faces.shape


def test_files_are_encoded_once_and_only_when_read(
    interop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []

    def counted(mesh: Mesh, format: str) -> bytes:
        encoded.append(mesh)
        return mesh_to_bytes(mesh, format)

    monkeypatch.setattr(interop, "mesh_to_bytes", counted)
    _, (file,) = interop.emit([rich_mesh()])
    assert not encoded and file.format == "glb"
    data = mesh_to_bytes(rich_mesh(), "glb")
    assert file.get_bytes() == file.get_data().read() == file.get_source().read() == data
    assert Path(file.save_to(str(tmp_path / "new" / "m.glb"))).read_bytes() == file.get_bytes() == data
    assert len(encoded) == 1


def test_trimesh_both_ways(interop: Any) -> None:
    mesh = textured()
    solid = interop.to_trimesh(mesh)
    assert np.allclose(np.asarray(solid.triangles), mesh.vertices[mesh.faces].numpy())
    (again,) = interop.accept(solid)
    assert torch.equal(again.vertices[again.faces], mesh.vertices[mesh.faces])
    assert torch.equal(again.materials[0].base_color_texture, mesh.materials[0].base_color_texture)
    assert torch.allclose(again.uv[again.faces], mesh.uv[mesh.faces], atol=1e-6)


def test_other_packs_and_lists(interop: Any) -> None:
    bare = SimpleNamespace(v=sphere(subdivisions=1).vertices, f=sphere(subdivisions=1).faces.int())
    arrays = SimpleNamespace(vertices=bare.v.numpy(), faces=bare.f.numpy())
    meshes = interop.accept([bare, (arrays, sphere(subdivisions=2))])
    assert [len(mesh.faces) for mesh in meshes] == [80, 80, 320]


HALF = SimpleNamespace(vertices=torch.rand(2, 3, 3), faces=3)


@pytest.mark.parametrize("value", [None, 3, "mesh.glb", object(), HALF])
def test_anything_else_is_refused(interop: Any, value: Any) -> None:
    with pytest.raises(Bundle3DError, match=r"^Expected .*; .*\.$"):
        interop.accept(value)


def test_wrong_tensors_are_refused(interop: Any, types: Any) -> None:
    faces = torch.tensor([[[0, 1, 2]]])
    for core in (
        types.MESH(torch.rand(2, 3, 3), faces),
        types.MESH(torch.full((1, 3, 3), float("nan")), faces),
        types.MESH(torch.rand(1, 2, 3), faces),
        types.MESH(torch.rand(1, 3, 3), faces, uvs=torch.rand(1, 2, 2)),
    ):
        with pytest.raises(Bundle3DError):
            interop.accept(core)
    with pytest.raises(Bundle3DError, match="empty"):
        interop.to_core([])


def test_inputs_are_not_changed(interop: Any) -> None:
    mesh = textured((0.5, 0.5, 0.5, 0.5))
    before = mesh.vertices.clone(), mesh.materials[0].base_color_texture.clone()
    interop.emit([mesh])
    assert torch.equal(mesh.vertices, before[0]) and torch.equal(mesh.materials[0].base_color_texture, before[1])
