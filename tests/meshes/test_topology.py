from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.meshes import topology
from hypothesis import given, settings
from hypothesis import strategies as st

from .shapes import box, cylinder, merge, moebius, sphere, torus

CASES = {
    # name: (mesh, euler characteristic, boundary loops, components, watertight)
    "box": (box(), 2, 0, 1, True),
    "sphere": (sphere(), 2, 0, 1, True),
    "torus": (torus(), 0, 0, 1, True),
    "cylinder": (cylinder(), 0, 2, 1, False),
    "moebius": (moebius(), 0, 1, 1, False),
    "two boxes": (merge(box(), box(center=(3, 0, 0))), 4, 0, 2, True),
}


@pytest.mark.parametrize("name", CASES)
def test_known_shapes(name: str) -> None:
    mesh, euler, loops, parts, closed = CASES[name]
    assert topology.euler_characteristic(mesh.faces) == euler
    assert topology.boundary_loops(mesh.faces) == loops
    labels = topology.components(mesh.faces, mesh.vertices.shape[0])
    assert sorted(set(labels.tolist())) == list(range(parts))
    assert topology.is_watertight(mesh.faces) is closed
    assert topology.is_manifold(mesh.faces)


def test_moebius_is_not_consistently_oriented() -> None:
    assert not topology.is_consistently_oriented(moebius().faces)
    assert topology.is_consistently_oriented(torus().faces)


def test_one_flipped_face_is_found() -> None:
    faces = sphere().faces.clone()
    faces[7] = faces[7].flip(0)
    assert not topology.is_consistently_oriented(faces)
    _, face_edges = topology.unique_edges(faces)
    assert int(topology.same_direction(faces, face_edges).sum()) == 3


def test_edges_of_the_box() -> None:
    edges, face_edges = topology.unique_edges(box().faces)
    assert edges.shape == (18, 2)
    assert bool((edges[:, 0] < edges[:, 1]).all())
    rebuilt = torch.stack((box().faces, box().faces.roll(-1, 1)), -1).sort(-1).values
    assert torch.equal(edges[face_edges], rebuilt)


def test_three_faces_at_one_edge_are_not_manifold() -> None:
    faces = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert not topology.is_manifold(faces)
    _, face_edges = topology.unique_edges(faces)
    assert topology.edge_face_counts(face_edges).max() == 3
    assert bool((topology.face_neighbours(faces) == -1).all())


def test_two_fans_at_one_vertex_are_not_manifold() -> None:
    assert not topology.is_manifold(torch.tensor([[0, 1, 2], [0, 3, 4]]))


def test_empty() -> None:
    none = torch.zeros((0, 3), dtype=torch.int64)
    assert not topology.is_watertight(none)
    assert topology.unique_edges(none)[0].shape == (0, 2)
    assert topology.components(none, 5).shape == (0,)
    assert topology.boundary_loops(none) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(3, 12))
def test_neighbours_are_symmetric_and_share_an_edge(seed: int, count: int, points: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.stack([torch.randperm(points, generator=generator)[:3] for _ in range(count)])
    neighbours = topology.face_neighbours(faces)
    for face, row in enumerate(neighbours.tolist()):
        for edge, other in enumerate(row):
            if other >= 0:
                pair = {int(faces[face, edge]), int(faces[face, (edge + 1) % 3])}
                assert pair <= set(faces[other].tolist())
                assert face in neighbours[other].tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(3, 12))
def test_edge_faces_agree_with_a_slow_count(seed: int, count: int, points: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    faces = torch.stack([torch.randperm(points, generator=generator)[:3] for _ in range(count)])
    slow: dict[tuple[int, int], list[int]] = {}
    for face, (a, b, c) in enumerate(faces.tolist()):
        for pair in ((a, b), (b, c), (c, a)):
            slow.setdefault((min(pair), max(pair)), []).append(face)
    edges, face_edges = topology.unique_edges(faces)
    twin = topology.unique_edges(faces, "torch")
    assert torch.equal(edges, twin[0]) and torch.equal(face_edges, twin[1])
    assert [tuple(edge) for edge in edges.tolist()] == sorted(slow)
    for edge, (first, second) in zip(edges.tolist(), topology.edge_faces(face_edges).tolist()):
        owners = slow[tuple(edge)]
        expected = (owners[0], -1) if len(owners) == 1 else tuple(owners) if len(owners) == 2 else (-1, -1)
        assert (first, second) == expected
