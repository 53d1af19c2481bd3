from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.topology import (
    corner_fans,
    edge_face_counts,
    euler_characteristic,
    is_consistently_oriented,
    unique_edges,
)
from bundle3d.pipelines.volumes.dual_cases import EDGE_CORNERS
from bundle3d.pipelines.volumes.dual_topology import DualTopology, dual_topology
from bundle3d.pipelines.volumes.flexicubes import (
    BETA_EDGES,
    BETA_OF_EDGE,
    CubeWeights,
    cube_weights,
    dual_mesh,
    vertex_offsets,
)
from bundle3d.pipelines.volumes.surface_cubes import SurfaceCubes, lattice_points, surface_cubes
from bundle3d.tests.volumes.fields import (
    Field,
    assert_closed_manifold,
    cube_ids,
    gyroid,
    lattice,
    signed_volume,
    sphere,
    surface_area,
    torus,
    waves,
)
from hypothesis import given, settings
from hypothesis import strategies as st

GOLDEN = json.loads((Path(__file__).parent / "flexicubes_golden.json").read_text(encoding="utf-8"))
FIELDS: dict[str, Field] = {"sphere": sphere, "gyroid": gyroid, "waves": waves}


def sampled(field: Field, resolution: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    size = resolution + 1
    return field(*lattice(resolution, dtype=dtype).unbind(1)).reshape(size, size, size)


def random_weights(cubes: SurfaceCubes, generator: torch.Generator, strength: float = 2.0) -> CubeWeights:
    raw = torch.randn(cubes.cells.shape[0], 21, generator=generator, dtype=cubes.sdf.dtype)
    return cube_weights(raw * strength)


def random_offsets(cubes: SurfaceCubes, generator: torch.Generator) -> torch.Tensor:
    raw = torch.randn(cubes.vertices.shape[0], 3, generator=generator, dtype=cubes.sdf.dtype)
    return vertex_offsets(3.0 * raw, cubes.resolution)


def topology_of(cubes: SurfaceCubes) -> DualTopology:
    size = cubes.resolution + 1
    return dual_topology(cubes.cells, cubes.cases, (size * size, size, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: f"{row['field']}-{row['resolution']}-{row['weights']}")
def test_the_published_method_gives_the_same_surface(row: dict[str, Any], dtype: torch.dtype) -> None:
    cubes = surface_cubes(sampled(FIELDS[row["field"]], row["resolution"], dtype))
    place = cube_ids(cubes)[:, None] * 21 + torch.arange(21)
    raw = torch.sin(0.61 * place.double()) * (row["weights"] == "waves")
    vertices, faces = dual_mesh(cubes, cube_weights(raw.to(dtype)))
    assert (vertices.shape[0], faces.shape[0]) == (row["vertices"], row["faces"])
    assert vertices.dtype == dtype
    assert surface_area(vertices, faces) == pytest.approx(row["area"], rel=1e-6)
    # The gyroid's volumes are differences of parts of about 1.
    assert signed_volume(vertices, faces) == pytest.approx(row["volume"], rel=1e-6, abs=1e-6)
    assert float(vertices.double().abs().sum()) == pytest.approx(row["sum_of_coordinates"], rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sphere_and_a_torus_have_their_genus_and_volume(weighted: bool) -> None:
    volumes = {sphere: 4.0 / 3.0 * math.pi * 0.6**3, torus: 2.0 * math.pi**2 * 0.6 * 0.25**2}
    for field, characteristic in ((sphere, 2), (torus, 0)):
        cubes = surface_cubes(sampled(field, 64))
        generator = torch.Generator().manual_seed(3)
        weights = random_weights(cubes, generator) if weighted else None
        vertices, faces = dual_mesh(cubes, weights)
        assert_closed_manifold(vertices.shape[0], faces)
        assert euler_characteristic(faces) == characteristic
        assert signed_volume(vertices, faces) == pytest.approx(volumes[field], rel=0.01)


def test_faces_look_outward() -> None:
    vertices, faces = dual_mesh(surface_cubes(sampled(sphere, 32)))
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert bool(((torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(1) > 0).all())


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    resolution=st.integers(3, 9),
    inside=st.floats(0.05, 0.95),
    zeros=st.booleans(),
)
def test_any_field_gives_a_closed_manifold_inside_the_lattice(
    seed: int, resolution: int, inside: float, zeros: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = inside - torch.rand(3 * (resolution - 1,), generator=generator)
    noise = torch.where(noise.abs() < 0.1, 0.0, noise) if zeros else noise
    cubes = surface_cubes(torch.nn.functional.pad(-noise, (1,) * 6, value=1.0))
    vertices, faces = dual_mesh(cubes, random_weights(cubes, generator), random_offsets(cubes, generator))
    assert_closed_manifold(vertices.shape[0], faces)
    assert bool(torch.isfinite(vertices).all())


def test_vertices_stay_in_their_cubes() -> None:
    cubes = surface_cubes(torch.randn(10, 10, 10, generator=torch.Generator().manual_seed(1)))
    generator = torch.Generator().manual_seed(2)
    offsets = random_offsets(cubes, generator)
    assert float(offsets.abs().max()) <= 1.0 / 36.0 + 1e-6
    weights = random_weights(cubes, generator)
    for moved, room in ((None, 1e-5), (offsets, 1.0 / 36.0 + 1e-5)):
        vertices, _ = dual_mesh(cubes, weights, moved, scale=9.0)
        centre = lattice_points(cubes.cells, 9, 9.0)[topology_of(cubes).owner] + 0.5
        assert float((vertices - centre).abs().max()) <= 0.5 + room


def test_the_mesh_is_open_only_where_the_surface_leaves_the_lattice() -> None:
    vertices, faces = dual_mesh(surface_cubes(sampled(gyroid, 24)))
    edges, face_edges = unique_edges(faces)
    counts = edge_face_counts(face_edges)
    assert set(counts.tolist()) == {1, 2}
    rim = vertices[edges[counts == 1].reshape(-1)]
    # A rim vertex lies in a cube at the boundary.
    assert float(rim.abs().amax(dim=1).min()) >= 1.05 - 2.1 / 24 - 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_a_surface_that_leaves_the_lattice_is_pinched_at_most_in_outer_cubes(seed: int) -> None:
    cubes = surface_cubes(torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(seed)))
    _, faces = dual_mesh(cubes)
    assert int(edge_face_counts(unique_edges(faces)[1]).max()) == 2
    assert is_consistently_oriented(faces)
    fans = torch.unique(torch.stack((faces.reshape(-1), corner_fans(faces).reshape(-1)), dim=1), dim=0)
    pinched = torch.nonzero(torch.bincount(fans[:, 0]) > 1).squeeze(1)
    ids = cube_ids(cubes)[topology_of(cubes).owner[pinched]]
    place = torch.stack((ids // 49, ids // 7 % 7, ids % 7), dim=1)
    assert bool(((place == 0) | (place == 6)).any(dim=1).all())


def test_a_heavy_crossing_draws_the_vertex_and_a_heavy_corner_pushes_the_crossing() -> None:
    sdf = torch.ones(2, 2, 2)
    sdf[0, 0, 0] = -1.0
    cubes = surface_cubes(sdf)
    even = torch.ones(1, 12), torch.ones(1, 8), torch.ones(1)
    beta, alpha = even[0].clone(), even[1].clone()
    beta[0, BETA_EDGES.index((2, 0))] = 4.0
    vertex, _ = dual_mesh(cubes, CubeWeights(beta, even[1], even[2]), scale=1.0)
    # Crossings in the middle of the three edges at the corner, the one along y four times.
    assert torch.allclose(vertex, torch.tensor([[0.5 / 6, 2.0 / 6, 0.5 / 6]]) - 0.5)
    alpha[0, 0] = 3.0
    vertex, _ = dual_mesh(cubes, CubeWeights(even[0], alpha, even[2]), scale=1.0)
    assert torch.allclose(vertex, torch.full((1, 3), 0.75 / 3) - 0.5)


def test_the_diagonal_ends_where_gamma_is_large() -> None:
    sdf = torch.ones(4, 4, 4)
    sdf[1, 1, 1] = sdf[2, 1, 1] = sdf[1, 2, 2] = -1.0
    cubes = surface_cubes(sdf)
    count = cubes.cells.shape[0]
    for cube in range(count):
        gamma = torch.ones(count)
        gamma[cube] = 2.0
        _, faces = dual_mesh(cubes, CubeWeights(torch.ones(count, 12), torch.ones(count, 8), gamma))
        # The vertices at a diagonal are in both triangles of their quad.
        mine = (topology_of(cubes).owner[faces] == cube).any(dim=1).reshape(-1, 2)
        assert torch.equal(mine[:, 0], mine[:, 1])
        assert bool(mine.any())


def test_gradients_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    sdf = torch.randn(4, 4, 4, generator=generator, dtype=torch.float64)
    sdf = sdf + 0.2 * sdf.sign()  # clear of zero, where the faces change
    cubes = surface_cubes(sdf)
    raw = torch.randn(cubes.cells.shape[0], 21, generator=generator, dtype=torch.float64)
    moves = torch.randn(cubes.vertices.shape[0], 3, generator=generator, dtype=torch.float64)

    def vertices(field: torch.Tensor, weights: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return dual_mesh(surface_cubes(field), cube_weights(weights), vertex_offsets(offsets, 3))[0]

    inputs = tuple(part.requires_grad_() for part in (sdf, raw, moves))
    assert torch.autograd.gradcheck(vertices, inputs, fast_mode=True)


def test_descent_on_the_field_moves_the_surface() -> None:
    sdf = sampled(sphere, 16).requires_grad_()
    vertices, _ = dual_mesh(surface_cubes(sdf))
    (vertices.norm(dim=1).mean()).backward()
    assert sdf.grad is not None
    # Lower distances make the sphere larger, so its radius falls with them; far vertices are untouched.
    assert float(sdf.grad.sum()) == pytest.approx(-1.0, rel=0.15)
    assert float(sdf.grad[0].abs().max()) == 0.0


def test_raw_weights_keep_to_their_ranges() -> None:
    raw = torch.stack((torch.zeros(21), torch.full((21,), 50.0), torch.full((21,), -50.0)))
    weights = cube_weights(raw)
    assert weights.beta[:, 3].tolist() == weights.alpha[:, 5].tolist() == [1.0, 1.5, 0.5]
    assert weights.gamma.tolist() == [0.5, 0.75, 0.25]
    assert cube_weights(raw, 0.99).beta[1, 0] == pytest.approx(1.99)
    assert float(vertex_offsets(torch.full((1, 3), 50.0), 128)[0, 0]) == pytest.approx(1.0 / 512.0)


def test_beta_names_every_edge_once() -> None:
    assert sorted(BETA_OF_EDGE) == list(range(12))
    for edge, place in enumerate(BETA_OF_EDGE):
        assert set(BETA_EDGES[place]) == set(EDGE_CORNERS[edge])


def test_inputs_stay_as_they_are_and_no_preference_equals_zero_weights() -> None:
    sdf = sampled(waves, 8)
    before = sdf.clone()
    cubes = surface_cubes(sdf)
    raw = torch.zeros(cubes.cells.shape[0], 21)
    plain, weighted = dual_mesh(cubes), dual_mesh(cubes, cube_weights(raw))
    assert torch.equal(sdf, before)
    assert torch.allclose(plain[0], weighted[0])
    assert torch.equal(plain[1], weighted[1])


@pytest.mark.parametrize("value", [1.0, -1.0])
def test_a_field_of_one_sign_has_no_surface(value: float) -> None:
    cubes = surface_cubes(torch.full((5, 5, 5), value))
    vertices, faces = dual_mesh(cubes, cube_weights(torch.zeros(0, 21)), torch.zeros(0, 3))
    assert (vertices.shape, faces.shape) == ((0, 3), (0, 3))


def test_weights_and_offsets_of_another_size_are_refused() -> None:
    cubes = surface_cubes(sampled(sphere, 8))
    with pytest.raises(Bundle3DError, match="surface cubes"):
        dual_mesh(cubes, cube_weights(torch.zeros(512, 21)))
    with pytest.raises(Bundle3DError, match="offset"):
        dual_mesh(cubes, offsets=torch.zeros(729, 3))
    with pytest.raises(Bundle3DError, match="21"):
        cube_weights(torch.zeros(5, 20))
