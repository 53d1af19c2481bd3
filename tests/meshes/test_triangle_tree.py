from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.triangle_tree import LEAF, TriangleTree
from bundle3d.pipelines.meshes.triangle_tree_torch import nearest_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box, torus

BACKENDS = ["numba", "torch"]


def brute_force(vertices: torch.Tensor, faces: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return nearest_weights(vertices[faces].double()[None], points[:, None].double())[1].amin(1).sqrt()


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 70))
def test_any_soup_gives_the_distances_of_brute_force(backend: str, seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(20, 3, generator=generator)
    vertices[10:] = vertices[10:].round()  # coplanar, collinear and repeated points
    faces = torch.randint(0, 20, (count, 3), generator=generator)
    points = torch.cat((torch.randn(30, 3, generator=generator) * 2, vertices, vertices * 1e3))
    found = TriangleTree(vertices, faces, backend).closest(points)
    assert torch.allclose(found.distance.double(), brute_force(vertices, faces, points), rtol=1e-6, atol=1e-7)
    place = found.interpolate(vertices.double(), faces)
    assert torch.allclose((place - points).norm(dim=1), found.distance.double(), rtol=1e-4, atol=1e-4)
    assert (found.weights >= -1e-6).all() and torch.allclose(found.weights.sum(1), torch.ones(len(points)), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_beyond_the_limit_there_is_nothing(backend: str) -> None:
    mesh = torus()
    points = torch.rand((300, 3), generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    near = brute_force(mesh.vertices, mesh.faces, points) < 0.2
    found = TriangleTree(mesh.vertices, mesh.faces, backend).closest(points, limit=0.2)
    assert torch.equal(found.face >= 0, near) and 0 < near.sum() < 300
    assert torch.allclose(found.distance[~near], torch.tensor(0.2))
    assert (found.weights[~near] == 0).all()


def test_a_large_mesh_gives_analytic_distances_whatever_the_order_of_the_queries() -> None:
    mesh = torus(columns=1000, rows=500)
    points = torch.rand((4000, 3), generator=torch.Generator().manual_seed(1)) * 3 - 1.5
    tree = TriangleTree(mesh.vertices, mesh.faces)
    found = tree.closest(points)
    ring = torch.hypot(torch.hypot(points[:, 0], points[:, 2]) - 1.0, points[:, 1])
    assert (found.distance - (ring - 0.35).abs()).abs().max() < 2e-5
    order = torch.randperm(4000, generator=torch.Generator().manual_seed(2))
    assert torch.equal(tree.closest(points[order]).distance, found.distance[order])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [1, LEAF, LEAF + 1, 2 * LEAF, 33])
def test_every_node_of_the_tree_holds_its_triangles(count: int, backend: str) -> None:
    vertices = torch.rand(50, 3, generator=torch.Generator().manual_seed(count))
    faces = torch.arange(3 * count).reshape(-1, 3) % 50
    tree = TriangleTree(vertices, faces, backend)
    assert torch.equal(tree.order.sort().values, torch.arange(count))
    leaves = len(tree.low) // 2
    for node in range(1, 2 * leaves):
        first, last = node, node
        while first < leaves:
            first, last = 2 * first, 2 * last + 1
        own = tree.corners[(first - leaves) * LEAF : (last - leaves + 1) * LEAF].reshape(-1, 3)
        if len(own):
            assert torch.equal(tree.low[node], own.amin(0)) and torch.equal(tree.high[node], own.amax(0))
        else:
            assert (tree.low[node] > tree.high[node]).all()


def test_a_cancelled_search_stops() -> None:
    mesh = box()

    def cancel(done: int, total: int, preview: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TriangleTree(mesh.vertices, mesh.faces).closest(torch.zeros(10, 3), progress=cancel)


def test_a_mesh_without_faces_is_refused_and_no_queries_are_fine() -> None:
    with pytest.raises(Bundle3DError, match="no faces"):
        TriangleTree(torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64))
    assert TriangleTree(box().vertices, box().faces).closest(torch.zeros(0, 3)).face.shape == (0,)
