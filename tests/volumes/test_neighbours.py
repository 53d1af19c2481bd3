from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.volumes.neighbours import CENTRE, neighbour_map
from bundle3d.pipelines.volumes.subdivide import subdivide_coords
from bundle3d.tests.rendering.cases import each_backend
from bundle3d.tests.volumes.voxels import random_voxels
from hypothesis import given, settings
from hypothesis import strategies as st


def looked_up(coords: torch.Tensor) -> list[list[int]]:
    """The 27 neighbours of every voxel by a dictionary."""
    rows = {tuple(voxel): row for row, voxel in enumerate(coords.tolist())}
    offsets = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
    return [[rows.get((b, x + i, y + j, z + k), -1) for b, x, y, z in coords.tolist()] for i, j, k in offsets]


@each_backend
@settings(deadline=None, max_examples=30)
@given(
    resolution=st.integers(1, 7),
    share=st.floats(0.02, 1.0),
    items=st.integers(1, 3),
    seed=st.integers(0, 99),
    ordered=st.booleans(),
)
def test_neighbours_are_those_of_a_dictionary(
    backend: str, resolution: int, share: float, items: int, seed: int, ordered: bool
) -> None:
    coords = random_voxels(resolution, share, items, seed, ordered)
    found = neighbour_map(coords, resolution, backend)
    assert found.dtype == torch.int32 and found.shape == (27, coords.shape[0])
    assert found.tolist() == looked_up(coords)


@each_backend
def test_a_voxel_alone_has_itself(backend: str) -> None:
    found = neighbour_map(torch.tensor([[0, 2047, 0, 2047]], dtype=torch.int32), 2048, backend)
    assert found[CENTRE].tolist() == [0] and int((found >= 0).sum()) == 1


@each_backend
def test_no_voxels_have_no_neighbours(backend: str) -> None:
    assert neighbour_map(torch.zeros(0, 4, dtype=torch.int32), 8, backend).shape == (27, 0)


@each_backend
def test_opposite_offsets_undo_each_other(backend: str) -> None:
    coords = random_voxels(12, 0.5)
    children = torch.rand(coords.shape[0], 8, generator=torch.Generator().manual_seed(3)) < 0.5
    coords = subdivide_coords(coords, children)
    found = neighbour_map(coords, 24, backend).long()
    rows = torch.arange(coords.shape[0])
    for k in range(27):
        there = found[k] >= 0
        assert torch.equal(found[26 - k][found[k][there]], rows[there])


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
def test_backends_agree() -> None:
    coords = random_voxels(40, 0.2, items=3)
    assert torch.equal(neighbour_map(coords, 40, "numba"), neighbour_map(coords, 40, "torch"))


def test_refuses_voxels_outside_of_the_lattice() -> None:
    with pytest.raises(Bundle3DError, match="check the resolution"):
        neighbour_map(random_voxels(5, 1.0), 4)


def test_refuses_voxels_that_occur_twice() -> None:
    coords = torch.tensor([[0, 1, 2, 3], [0, 0, 0, 0], [0, 1, 2, 3]], dtype=torch.int32)
    with pytest.raises(Bundle3DError, match="unique_rows"):
        neighbour_map(coords, 4)
