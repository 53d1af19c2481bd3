from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.dual_cases import EDGE_CORNERS, dual_cases
from bundle3d.pipelines.volumes.surface_nets import surface_nets
from bundle3d.tests.volumes.fields import assert_closed_manifold, signed_volume


def grid(size: int) -> torch.Tensor:
    axis = torch.linspace(-1.0, 1.0, size)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_sphere_has_its_volume_and_faces_outward(backend: str) -> None:
    mesh = surface_nets(0.8 - grid(65).norm(dim=-1), (-1.0,) * 3, 2.0 / 64, backend)
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(4.0 / 3.0 * math.pi * 0.8**3, rel=3e-3)
    assert (mesh.vertices.norm(dim=1) - 0.8).abs().max() < 1e-3
    assert_closed_manifold(mesh.vertices.shape[0], mesh.faces)


def test_an_ellipsoid_off_centre_sits_where_it_should() -> None:
    radii, centre = torch.tensor((0.3, 0.5, 0.7)), torch.tensor((0.2, -0.1, 0.1))
    mesh = surface_nets(1.0 - ((grid(65) - centre) / radii).norm(dim=-1), (-1.0,) * 3, 2.0 / 64)
    lower, upper = mesh.bounds
    assert torch.allclose(lower, centre - radii, atol=5e-3)
    assert torch.allclose(upper, centre + radii, atol=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_noise_with_every_ambiguity_is_still_a_closed_manifold(seed: int) -> None:
    noise = torch.randn(14, 15, 16, generator=torch.Generator().manual_seed(seed))
    field = torch.nn.functional.pad(noise, (1,) * 6, value=-1.0)
    mesh = surface_nets(field)
    assert mesh.faces.shape[0] > 5000
    assert_closed_manifold(mesh.vertices.shape[0], mesh.faces)


def test_both_backends_agree_exactly() -> None:
    noise = torch.randn(40, 21, 22, generator=torch.Generator().manual_seed(9))
    one, two = surface_nets(noise, backend="numba"), surface_nets(noise, backend="torch")
    assert torch.equal(one.vertices, two.vertices)
    assert torch.equal(one.faces, two.faces)


def test_two_voxels_touching_in_an_edge_stay_apart() -> None:
    field = torch.full((5, 5, 5), -1.0)
    field[1, 1, 2] = field[2, 2, 2] = 1.0
    mesh = surface_nets(field)
    assert mesh.vertices.shape[0] == 16
    assert_closed_manifold(mesh.vertices.shape[0], mesh.faces)


def test_a_field_of_one_sign_gives_an_empty_mesh_and_a_flat_one_is_refused() -> None:
    assert surface_nets(torch.ones(4, 4, 4)).faces.shape == (0, 3)
    with pytest.raises(Bundle3DError):
        surface_nets(torch.ones(4, 4))


def test_case_tables_cover_the_crossed_edges_and_mirror_under_complement() -> None:
    tables = dual_cases()
    for case in range(256):
        crossed = [bool((case >> a ^ case >> b) & 1) for a, b in EDGE_CORNERS]
        assert [g >= 0 for g in tables.group[case].tolist()] == crossed
        assert int(tables.count[case]) == len(set(tables.group[case].tolist()) - {-1})
    problems = torch.nonzero(tables.problem_face >= 0)[:, 0].tolist()
    assert len(problems) == 36
    assert {bin(case).count("1") for case in problems} == {5, 6}
    assert all(int(tables.count[255 - case]) == 2 for case in problems)
