"""Cells near a mesh against all samples, one by one."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.triangle_tree import TriangleTree
from bundle3d.pipelines.volumes.near_surface import cells_near_surface

GENERATOR = torch.Generator().manual_seed(0)
VERTICES = torch.rand(12, 3, generator=GENERATOR) * 0.9 - 0.45
FACES = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 3, 6], [7, 8, 9], [9, 10, 11]])


def naive_cells(samples: int, per_cell: int, distance: float) -> set[tuple[int, ...]]:
    places = torch.cartesian_prod(*[torch.arange(samples)] * 3)
    points = places.double() / (samples - 1) - 0.5
    away = TriangleTree(VERTICES, FACES).closest(points.float()).distance
    return {tuple(place) for place in (places[away < distance] // per_cell).tolist()}


@pytest.mark.parametrize(
    ("samples", "per_cell", "steps"), [(32, 8, 4.0), (32, 4, 0.4), (32, 2, 1.0), (16, 16, 2.0), (32, 8, 0.05)]
)
def test_cells_are_those_with_a_sample_near_the_mesh(samples: int, per_cell: int, steps: float) -> None:
    found = cells_near_surface(VERTICES, FACES, samples, per_cell, steps / samples)
    assert found.dtype == torch.int32
    rows = [tuple(row) for row in found.tolist()]
    assert rows == sorted(rows)
    assert set(rows) == naive_cells(samples, per_cell, steps / samples)


def test_a_mesh_outside_of_the_lattice_is_near_nothing() -> None:
    assert cells_near_surface(VERTICES + 5, FACES, 16, 4, 0.1).shape == (0, 3)


@pytest.mark.parametrize(("samples", "per_cell"), [(48, 8), (64, 6), (8, 16), (8, 1)])
def test_other_lattices_are_refused(samples: int, per_cell: int) -> None:
    with pytest.raises(Bundle3DError, match="powers of two"):
        cells_near_surface(VERTICES, FACES, samples, per_cell, 0.1)
