from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.surface_cubes import lattice_points, surface_cubes
from bundle3d.tests.volumes.fields import cube_ids, lattice
from hypothesis import given, settings
from hypothesis import strategies as st


def test_the_lattice_counts_z_fastest() -> None:
    points = lattice(16)
    assert points.shape == (4913, 3)
    expected = torch.tensor([[-1.05, -1.05, -1.05], [-1.05, -1.05, -0.91875], [-1.05, -1.05, -0.7875]])
    assert torch.allclose(points[:3], expected)
    assert torch.allclose(points[-1], torch.full((3,), 1.05))
    assert torch.equal(lattice_points(torch.tensor([17, 4912]), 16), points[[17, 4912]])
    assert lattice(4, 1.0, torch.float64).dtype == torch.float64


def test_the_first_cube_has_the_published_corners() -> None:
    sdf = torch.ones(17, 17, 17)
    sdf[0, 0, 0] = -1.0
    cubes = surface_cubes(sdf)
    assert cubes.vertices[cubes.rows].tolist() == [[0, 289, 17, 306, 1, 290, 18, 307]]
    assert (cube_ids(cubes).tolist(), cubes.cases.tolist()) == ([0], [1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), resolution=st.integers(1, 7), shift=st.floats(-2.0, 2.0))
def test_the_cubes_are_those_with_both_signs(seed: int, resolution: int, shift: float) -> None:
    size = resolution + 1
    sdf = shift + torch.randn(size, size, size, generator=torch.Generator().manual_seed(seed))
    cubes = surface_cubes(sdf)
    expected, cases, corners = [], [], []
    for x in range(resolution):
        for y in range(resolution):
            for z in range(resolution):
                places = [(x + (i & 1), y + (i >> 1 & 1), z + (i >> 2 & 1)) for i in range(8)]
                inside = [bool(sdf[place] < 0) for place in places]
                if any(inside) and not all(inside):
                    expected.append((x * resolution + y) * resolution + z)
                    cases.append(sum(bit << i for i, bit in enumerate(inside)))
                    corners.append([(i * size + j) * size + k for i, j, k in places])
    assert cube_ids(cubes).tolist() == expected
    assert cubes.cases.tolist() == cases
    assert cubes.vertices[cubes.rows].tolist() == corners
    assert cubes.vertices.tolist() == sorted({index for cube in corners for index in cube})
    assert torch.equal(cubes.sdf, sdf.reshape(-1)[cubes.vertices])
    assert torch.equal((cubes.sdf[cubes.rows] < 0).long() @ (2 ** torch.arange(8)), cubes.cases)


def test_other_fields_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="reshape"):
        surface_cubes(torch.ones(125))
    with pytest.raises(Bundle3DError, match="reshape"):
        surface_cubes(torch.ones(5, 5, 6))
    with pytest.raises(Bundle3DError, match="float32 or float64"):
        surface_cubes(torch.ones(5, 5, 5, dtype=torch.float16))
    with pytest.raises(Bundle3DError, match="finite"):
        surface_cubes(torch.full((5, 5, 5), torch.nan))
