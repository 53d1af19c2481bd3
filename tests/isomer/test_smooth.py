from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.isomer.smooth import laplacian_smooth, loop_subdivide, neighbour_sums
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.topology import boundary_edges, euler_characteristic, is_manifold, is_watertight

from .shapes import area_and_volume, torus

DIAGONAL = 2.4556


def open_torus() -> Mesh:
    vertices, faces = torus()
    return Mesh(vertices, faces[24:])


def test_neighbour_sums_of_an_octahedron():
    vertices = torch.tensor(((1.0, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)))
    faces = torch.tensor([(a, b, c) for a in (0, 1) for b in (2, 3) for c in (4, 5)])
    sums, degree = neighbour_sums(vertices + 1.0, faces)
    assert degree.tolist() == [4] * 6
    torch.testing.assert_close(sums, torch.full((6, 3), 4.0))


@pytest.mark.skipif(not HAVE_NUMBA, reason="needs numba")
def test_both_backends_sum_alike():
    mesh = open_torus()
    for one, two in zip(*(neighbour_sums(mesh.vertices, mesh.faces, backend) for backend in ("numba", "torch"))):
        torch.testing.assert_close(one.double(), two.double(), atol=1e-6, rtol=0)


def test_smoothing_follows_the_formula_inside_and_along_the_border():
    mesh = open_torus()
    smooth = laplacian_smooth(mesh)
    border = boundary_edges(mesh.faces)
    rim = int(border[0, 0])
    along = border[(border == rim).any(1)].reshape(-1)
    along = along[along != rim]
    assert len(along) == 2
    torch.testing.assert_close(smooth.vertices[rim], (2 * mesh.vertices[rim] + mesh.vertices[along].sum(0)) / 4)
    inner = next(v for v in range(len(mesh.vertices)) if v not in border)
    ring = mesh.faces[(mesh.faces == inner).any(1)].unique()
    ring = ring[ring != inner]
    golden = (mesh.vertices[inner] + 2 * mesh.vertices[ring].sum(0)) / (1 + 2 * len(ring))
    torch.testing.assert_close(smooth.vertices[inner], golden)


def test_smoothing_does_not_change_its_input():
    mesh = open_torus()
    before = mesh.vertices.clone()
    laplacian_smooth(mesh, 3)
    assert torch.equal(mesh.vertices, before)


@pytest.mark.parametrize(("share", "vertices", "faces"), [(0.0025, 4608, 9216), (0.05, 1272, 2544), (0.5, 288, 576)])
def test_loop_subdivision_gives_the_golden_counts(share: float, vertices: int, faces: int):
    result = loop_subdivide(Mesh(*torus()), share * DIAGONAL)
    assert (len(result.vertices), len(result.faces)) == (vertices, faces)
    assert is_watertight(result.faces)
    assert is_manifold(result.faces)
    assert euler_characteristic(result.faces) == 0


def test_loop_subdivision_comes_near_the_smooth_torus():
    result = loop_subdivide(Mesh(*torus(around=48, across=24)), 0.0, iterations=2)
    ring = torch.nn.functional.normalize(result.vertices * torch.tensor((1.0, 1.0, 0.0)), dim=1) * 0.6
    error = ((result.vertices - ring).norm(dim=1) - 0.25).abs()
    assert float(error.max()) < 0.01
    assert area_and_volume(result.vertices, result.faces)[1] > 0.69


def test_loop_subdivision_of_a_flat_sheet_stays_flat_and_fills_the_same_outline():
    vertices = torch.tensor(((0.0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)))
    result = loop_subdivide(Mesh(vertices, torch.tensor(((0, 1, 2), (0, 2, 3)))), 0.1)
    assert float(result.vertices[:, 2].abs().max()) == 0.0
    assert len(result.faces) == 32
