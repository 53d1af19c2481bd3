from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Material, Mesh
from bundle3d.pipelines.meshes.repair import RepairOptions, repair
from bundle3d.pipelines.meshes.topology import (
    components,
    euler_characteristic,
    is_consistently_oriented,
    is_manifold,
    is_watertight,
)
from bundle3d.pipelines.meshes.weld import keep_faces, welded_faces
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box, cylinder, merge, moebius, soup, sphere, torus, volume


def voxel_surface(filled: torch.Tensor) -> Mesh:
    """The boundary quads of the filled cells of a small grid, as triangles facing outward."""
    faces, index = [], {}

    def corner(place: tuple[int, ...]) -> int:
        return index.setdefault(place, len(index))

    cells = {tuple(cell) for cell in torch.nonzero(filled).tolist()}
    for cell in sorted(cells):
        for axis in range(3):
            for side in (0, 1):
                other = list(cell)
                other[axis] += 2 * side - 1
                if tuple(other) in cells:
                    continue
                u, v = (axis + 1) % 3, (axis + 2) % 3
                ring = []
                for du, dv in ((0, 0), (1, 0), (1, 1), (0, 1)):
                    place = list(cell)
                    place[axis] += side
                    place[u] += du
                    place[v] += dv
                    ring.append(corner(tuple(place)))
                ring = ring if side else ring[::-1]
                faces += [ring[:3], [ring[0], ring[2], ring[3]]]
    vertices = torch.tensor(list(index), dtype=torch.float32)
    return Mesh(vertices=vertices, faces=torch.tensor(faces))


def check_sound(mesh: Mesh) -> None:
    faces = mesh.faces
    assert is_watertight(faces) and is_manifold(faces) and is_consistently_oriented(faces)
    assert volume(mesh) > 0


@pytest.mark.parametrize("shape", [box(), sphere(), torus()], ids=["box", "sphere", "torus"])
def test_sound_meshes_stay(shape: Mesh) -> None:
    fixed = repair(shape)
    assert torch.equal(fixed.vertices[fixed.faces], shape.vertices[shape.faces])


def test_random_flips_are_undone() -> None:
    mesh = torus()
    flips = torch.rand(mesh.faces.shape[0], generator=torch.Generator().manual_seed(0)) < 0.5
    fixed = repair(soup(mesh.with_(faces=torch.where(flips[:, None], mesh.faces.flip(1), mesh.faces))))
    check_sound(fixed)
    assert volume(fixed) == pytest.approx(volume(mesh), rel=1e-5)


def test_inside_out_parts_are_turned() -> None:
    mesh = merge(sphere(), box(center=(4, 0, 0)))
    fixed = repair(mesh.with_(faces=mesh.faces.flip(1)))
    assert volume(fixed) == pytest.approx(volume(mesh), rel=1e-5)


@pytest.mark.parametrize("flipped", [False, True])
def test_open_tube_looks_outward_and_is_closed(flipped: bool) -> None:
    mesh = cylinder()
    given_faces = mesh.faces.flip(1) if flipped else mesh.faces
    opened = repair(mesh.with_(faces=given_faces), RepairOptions(largest_hole=0))
    outward = (opened.face_normals() * opened.vertices[opened.faces].mean(1) * torch.tensor([1.0, 0.0, 1.0])).sum(1)
    assert bool((outward > 0).all())
    closed = repair(mesh.with_(faces=given_faces))
    check_sound(closed)
    full = 2.0 * 0.5 * 32 * torch.sin(torch.tensor(2 * torch.pi / 32)).item()
    assert volume(closed) == pytest.approx(full, rel=1e-4)


def test_open_bowl_looks_outward() -> None:
    bowl = keep_faces(sphere(), sphere().vertices[sphere().faces].mean(1)[:, 1] < 0.1)
    fixed = repair(bowl.with_(faces=bowl.faces.flip(1)), RepairOptions(largest_hole=0))
    assert bool(((fixed.face_normals() * fixed.vertices[fixed.faces].mean(1)).sum(1) > 0).all())


def test_concave_plane_hole_is_filled_exactly() -> None:
    u = torch.zeros(5, 5, 2, dtype=torch.bool)
    u[:, 0] = u[0] = u[4] = True
    mesh = voxel_surface(u)
    lid = mesh.vertices[mesh.faces][..., 2].amin(1) == 2.0
    fixed = repair(keep_faces(mesh, ~lid))
    check_sound(fixed)
    assert volume(fixed) == pytest.approx(volume(mesh), rel=1e-6)
    assert float(fixed.face_normals().norm(dim=1).sum()) == pytest.approx(float(mesh.face_normals().norm(dim=1).sum()))


def test_large_and_small_holes_are_limited_by_size() -> None:
    mesh = sphere()
    faces = mesh.faces[1:]
    faces = faces[mesh.vertices[faces].mean(1)[:, 1] < 0.5]
    holed = keep_faces(mesh.with_(faces=faces), torch.ones(faces.shape[0], dtype=torch.bool))
    check_sound(repair(holed))
    partly = repair(holed, RepairOptions(largest_hole=0.3))
    assert not is_watertight(partly.faces)
    assert partly.faces.shape[0] == holed.faces.shape[0] + 1 or partly.faces.shape[0] == holed.faces.shape[0]


def test_touching_boxes_are_separated() -> None:
    for offset in ((1.0, 1.0, 0.0), (1.0, 1.0, 1.0)):
        fixed = repair(merge(box(), box(center=offset)))
        check_sound(fixed)
        assert euler_characteristic(fixed.faces) == 4 and volume(fixed) == pytest.approx(2.0, rel=1e-4)
        assert is_manifold(welded_faces(fixed)) and torch.equal(repair(fixed).faces, fixed.faces)


def test_duplicate_and_collapsed_faces_go() -> None:
    mesh = box()
    extra = torch.cat((mesh.faces, mesh.faces[:3], mesh.faces[4:6].flip(1), torch.tensor([[1, 1, 2]])))
    fixed = repair(mesh.with_(faces=extra))
    check_sound(fixed)
    assert fixed.faces.shape[0] == 12


def test_debris_goes_and_the_rest_stays() -> None:
    mesh = merge(sphere(), box((0.005, 0.005, 0.005), (2, 0, 0)), box((0.2, 0.2, 0.2), (0, 2, 0)))
    fixed = repair(mesh)
    assert int(components(fixed.faces, fixed.vertices.shape[0]).max()) + 1 == 2
    kept = repair(mesh, RepairOptions(debris=0))
    assert int(components(kept.faces, kept.vertices.shape[0]).max()) + 1 == 3


def test_nested_shells() -> None:
    mesh = merge(sphere(1.0), sphere(0.7), sphere(0.3), box((0.1, 0.1, 0.1), (0, 0, 0.5)), sphere(0.2, 2, (3, 0, 0)))
    fixed = repair(mesh)
    assert fixed.faces.shape[0] == 1280 + 320
    assert torch.equal(repair(fixed).faces, fixed.faces)
    assert repair(mesh, RepairOptions(inner_shells=False)).faces.shape[0] == mesh.faces.shape[0]


def test_parts_that_poke_out_or_nest_in_a_hollow_stay() -> None:
    poking = merge(sphere(), box((0.2, 0.2, 2.4)))
    assert repair(poking).faces.shape[0] == poking.faces.shape[0]
    ringed = merge(torus(), sphere(0.4))
    assert repair(ringed).faces.shape[0] == ringed.faces.shape[0]


def test_one_sided_band_is_left_open_but_manifold() -> None:
    fixed = repair(moebius())
    assert is_manifold(fixed.faces)


def test_attributes_stay_where_geometry_stays() -> None:
    mesh = soup(box())
    generator = torch.Generator().manual_seed(3)
    mesh = mesh.with_(
        uv=torch.rand((36, 2), generator=generator),
        colors=torch.rand((36, 4), generator=generator),
        normals=torch.nn.functional.normalize(mesh.face_normals().repeat_interleave(3, 0), dim=1),
        materials=(Material("a"), Material("b")),
        face_material=torch.arange(12) % 2,
    )
    opened = keep_faces(mesh, torch.arange(12) >= 2)
    fixed = repair(opened)
    assert is_watertight(welded_faces(fixed))
    for name in ("uv", "colors", "normals"):
        assert torch.equal(getattr(fixed, name)[fixed.faces[:10]], getattr(opened, name)[opened.faces])
    assert torch.equal(fixed.face_material[:10], opened.face_material)
    assert fixed.faces.shape[0] == 12 and set(fixed.face_material[10:].tolist()) <= {0, 1}
    lid = torch.nn.functional.normalize(mesh.face_normals()[:1], dim=1)
    assert torch.allclose(fixed.normals[fixed.faces[10:]].reshape(-1, 3), lid.expand(6, 3), atol=1e-5)


def test_input_is_not_changed_and_empty_passes() -> None:
    mesh = soup(sphere())
    before = mesh.vertices.clone(), mesh.faces.clone()
    repair(mesh)
    assert torch.equal(mesh.vertices, before[0]) and torch.equal(mesh.faces, before[1])
    empty = Mesh(vertices=torch.zeros((0, 3)), faces=torch.zeros((0, 3), dtype=torch.int64))
    assert repair(empty).faces.shape[0] == 0


def test_refusal() -> None:
    with pytest.raises(Bundle3DError, match="weld"):
        repair(box(), RepairOptions(weld=-1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.15, 0.85))
def test_any_voxel_pile_becomes_sound(seed: int, density: float) -> None:
    filled = torch.rand((4, 4, 4), generator=torch.Generator().manual_seed(seed)) < density
    filled[0, 0, 0] = True
    mesh = voxel_surface(filled)
    fixed = repair(mesh, RepairOptions(inner_shells=False, debris=0))
    check_sound(fixed)
    assert volume(fixed) >= int(filled.sum()) - 1e-3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.integers(3, 15))
def test_any_triangles_become_manifold(seed: int, count: int, points: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.stack([torch.randperm(points, generator=generator)[:3] for _ in range(count)])
    fixed = repair(Mesh(vertices=torch.rand((points, 3), generator=generator), faces=faces))
    assert is_manifold(fixed.faces)
