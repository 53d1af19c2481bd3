from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.rendering.edges import Edges, find_edges

from .cases import BACKENDS
from .shapes import bumpy


def as_dictionary(edges: Edges) -> dict[tuple[int, ...], list[int]]:
    return {
        tuple(ends): edges.opposite[edges.start[e] : edges.start[e + 1]].tolist()
        for e, ends in enumerate(edges.ends.tolist())
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_edges_of_three_faces_at_one_edge(backend: str) -> None:
    edges = find_edges(torch.tensor([[0, 1, 2], [1, 0, 3], [4, 0, 1]]), 6, backend)
    assert as_dictionary(edges) == {
        (0, 1): [2, 3, 4], (0, 2): [1], (0, 3): [1], (0, 4): [1], (1, 2): [0], (1, 3): [0], (1, 4): [0],
    }  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_surface_has_two_faces_at_every_edge(backend: str) -> None:
    vertices, faces = bumpy(9)
    edges = find_edges(faces, len(vertices), backend)
    assert len(edges.ends) * 2 == faces.numel()
    assert bool((edges.start.diff() == 2).all())


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
def test_backends_agree() -> None:
    faces = torch.randint(0, 50, (300, 3), generator=torch.Generator().manual_seed(1))
    one, other = find_edges(faces, 50, "numba"), find_edges(faces, 50, "torch")
    assert torch.equal(one.ends, other.ends)
    assert torch.equal(one.start, other.start)
    assert torch.equal(one.opposite, other.opposite)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_faces_have_no_edges(backend: str) -> None:
    edges = find_edges(torch.zeros(0, 3, dtype=torch.int64), 0, backend)
    assert edges.ends.shape == (0, 2) and edges.start.tolist() == [0]
