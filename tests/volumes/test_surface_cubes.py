from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.flexicubes import dual_mesh
from bundle3d.pipelines.volumes.surface_cubes import guard_empty_shape, lattice, lattice_points, surface_cubes
from bundle3d.tests.volumes.fields import assert_closed_manifold
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
    assert cubes.corners.tolist() == [[0, 289, 17, 306, 1, 290, 18, 307]]
    assert (cubes.ids.tolist(), cubes.cases.tolist()) == ([0], [1])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), resolution=st.integers(1, 7), shift=st.floats(-2.0, 2.0))
def test_the_cubes_are_those_with_both_signs(seed: int, resolution: int, shift: float) -> None:
    size = resolution + 1
    sdf = shift + torch.randn(size, size, size, generator=torch.Generator().manual_seed(seed))
    cubes = surface_cubes(sdf)
    expected, cases = [], []
    for x in range(resolution):
        for y in range(resolution):
            for z in range(resolution):
                inside = [bool(sdf[x + (i & 1), y + (i >> 1 & 1), z + (i >> 2 & 1)] < 0) for i in range(8)]
                if any(inside) and not all(inside):
                    expected.append((x * resolution + y) * resolution + z)
                    cases.append(sum(bit << i for i, bit in enumerate(inside)))
    assert cubes.ids.tolist() == expected
    assert cubes.cases.tolist() == cases
    assert torch.equal(cubes.vertices, torch.unique(cubes.corners))
    assert torch.equal(cubes.sdf, sdf.reshape(-1)[cubes.vertices])
    assert torch.equal((cubes.sdf[cubes.rows] < 0).long() @ (2 ** torch.arange(8)), cubes.cases)


@pytest.mark.parametrize("value", [0.5, -0.5, 0.0])
@pytest.mark.parametrize("resolution", [5, 8, 11])
def test_the_guard_gives_an_empty_shape_a_surface(value: float, resolution: int) -> None:
    sdf = torch.full((resolution + 1,) * 3, value)
    sdf[0] = -value  # the outer layer does not count
    guarded = guard_empty_shape(sdf)
    centre = resolution // 2 + 1
    assert float(guarded[centre, centre, centre]) == 1.0 + abs(value)
    assert float(guarded[1, 1:-1, -2].max()) == -1.0 - abs(value)
    kept = torch.ones_like(guarded, dtype=torch.bool)[2:-2, 2:-2, 2:-2]
    kept[centre - 2, centre - 2, centre - 2] = False
    assert torch.equal(guarded[2:-2, 2:-2, 2:-2][kept], sdf[2:-2, 2:-2, 2:-2][kept])
    vertices, faces = dual_mesh(surface_cubes(guarded))
    assert faces.shape[0] > 0
    assert_closed_manifold(vertices.shape[0], faces)


def test_the_guard_leaves_a_field_with_a_surface_alone() -> None:
    sdf = torch.ones(7, 7, 7)
    sdf[3, 3, 3] = -0.1
    assert guard_empty_shape(sdf) is sdf


def test_other_fields_are_refused() -> None:
    with pytest.raises(Bundle3DError, match="reshape"):
        surface_cubes(torch.ones(125))
    with pytest.raises(Bundle3DError, match="reshape"):
        surface_cubes(torch.ones(5, 5, 6))
    with pytest.raises(Bundle3DError, match="float32 or float64"):
        surface_cubes(torch.ones(5, 5, 5, dtype=torch.float16))
    with pytest.raises(Bundle3DError, match="finite"):
        surface_cubes(torch.full((5, 5, 5), torch.nan))
    with pytest.raises(Bundle3DError, match="at least 5"):
        guard_empty_shape(torch.ones(5, 5, 5))
