"""Materials split off: what else is there stays to the bit, and the mesh looks the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.editing.split_material import split_material
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.rendering.render_mesh import render_mesh
from bundle3d.pipelines.views.rig import named_rig
from bundle3d.tests.meshes.rich_mesh import rich_mesh
from bundle3d.tests.meshes.shapes import torus

ATTRIBUTES = ("vertices", "uv", "normals", "tangents", "colors")


def chosen_faces(mesh: Mesh, seed: int) -> torch.Tensor:
    return torch.rand(len(mesh.faces), generator=torch.Generator().manual_seed(seed)) < 0.3


def plain_torus() -> Mesh:
    return torus(0.7, 0.3, 16, 12)


def colored_torus() -> Mesh:
    mesh = plain_torus()
    return mesh.with_(colors=mesh.vertices * 0.5 + 0.5, normals=mesh.vertex_normals())


@pytest.mark.parametrize("make", [rich_mesh, plain_torus, colored_torus])
@pytest.mark.parametrize("seed", range(3))
def test_all_else_stays_to_the_bit(make: object, seed: int) -> None:
    mesh = make()  # type: ignore[operator]
    before = {name: None if getattr(mesh, name) is None else getattr(mesh, name).clone() for name in ATTRIBUTES}
    chosen = chosen_faces(mesh, seed)
    split = split_material(mesh, chosen)
    for name in ATTRIBUTES:
        old, new = before[name], getattr(split, name)
        assert (old is None) == (new is None)
        if old is not None:
            assert torch.equal(getattr(mesh, name), old) and torch.equal(new[: len(old)], old)
            assert torch.equal(new[split.faces], old[mesh.faces])
    assert torch.equal(split.faces[~chosen], mesh.faces[~chosen])
    assert split.materials[: len(mesh.materials)] == mesh.materials
    if mesh.face_material is not None:
        assert split.face_material is not None
        assert torch.equal(split.face_material[~chosen], mesh.face_material[~chosen])
    assert (split.name, split.units) == (mesh.name, mesh.units) and torch.equal(split.transform, mesh.transform)


@pytest.mark.parametrize("make", [rich_mesh, plain_torus, colored_torus])
def test_no_other_face_shares_a_material_or_a_coloured_vertex(make: object) -> None:
    mesh = make()  # type: ignore[operator]
    chosen = chosen_faces(mesh, 0)
    split = split_material(mesh, chosen)
    assert split.face_material is not None
    assert not set(split.face_material[chosen].tolist()) & set(split.face_material[~chosen].tolist())
    if split.colors is not None:
        assert not set(split.faces[chosen].reshape(-1).tolist()) & set(split.faces[~chosen].reshape(-1).tolist())
    else:
        assert torch.equal(split.faces, mesh.faces)


@pytest.mark.parametrize("make", [rich_mesh, plain_torus, colored_torus])
@pytest.mark.parametrize("mode", ["shaded", "unlit", "normal"])
def test_it_looks_the_same(make: object, mode: str) -> None:
    mesh = make()  # type: ignore[operator]
    mesh = mesh.with_(vertices=mesh.vertices / mesh.vertices.abs().max())
    split = split_material(mesh, chosen_faces(mesh, 1))
    rig = named_rig("kiss3dgen")
    for old, new in zip(render_mesh(mesh, rig, 48, 48, mode, 1), render_mesh(split, rig, 48, 48, mode, 1)):
        assert float((old - new).abs().max()) < 1e-6


def test_copies_are_named_after_their_materials_and_keep_all_else() -> None:
    mesh = rich_mesh()
    wood, glow = mesh.materials
    split = split_material(mesh, chosen_faces(mesh, 0))
    assert [item.name for item in split.materials[2:]] == ["wood and brass (edited)", "glow (edited)"]
    assert replace(split.materials[2], name=wood.name) == wood and replace(split.materials[3], name=glow.name) == glow
    again = split_material(split, chosen_faces(mesh, 5))
    names = [item.name for item in again.materials]
    assert len(set(names)) == len(names) and "glow (edited 2)" in names


def test_a_material_that_all_its_faces_leave_stays_as_it_is() -> None:
    mesh = rich_mesh()
    assert mesh.face_material is not None
    split = split_material(mesh, mesh.face_material == 1)
    assert split.materials == mesh.materials and torch.equal(split.face_material, mesh.face_material)  # type: ignore[arg-type]
    whole = split_material(mesh, torch.ones(len(mesh.faces), dtype=torch.bool))
    none = split_material(mesh, torch.zeros(len(mesh.faces), dtype=torch.bool))
    assert whole is mesh and none is mesh


def test_a_mesh_without_a_material_gets_the_one_it_is_shown_with() -> None:
    mesh = plain_torus()
    split = split_material(mesh, chosen_faces(mesh, 0))
    assert split.materials == (
        Material(roughness_factor=0.9),
        Material(name="material (edited)", roughness_factor=0.9),
    )
