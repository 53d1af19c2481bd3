from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.pipelines.isomer.remesh import remesh
from bundle3d.pipelines.isomer.remesh_torch import collapse_edges, edge_lengths, flip_edges, pack, split_edges
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.meshes.topology import (
    euler_characteristic,
    is_consistently_oriented,
    is_manifold,
    is_watertight,
    unique_edges,
)

from .shapes import area_and_volume, torus

BACKENDS = ["torch", *(["numba"] if HAVE_NUMBA else [])]


def split_longer_than(vertices: torch.Tensor, faces: torch.Tensor, length: float) -> tuple[torch.Tensor, torch.Tensor]:
    edges, sides = unique_edges(faces)
    return split_edges(vertices, faces, edges, sides, edge_lengths(vertices, edges) > length)


def passes(backend: str, wanted: float, count: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    vertices, faces = torus()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        length = torch.full((len(vertices),), wanted)
        vertices, faces = remesh(vertices, faces, 0.5 * length, 1.5 * length, generator, backend=backend)
    return vertices, faces


def test_the_torus_has_the_golden_area_and_volume():
    vertices, faces = torus()
    assert (len(vertices), len(faces)) == (288, 576)
    assert area_and_volume(vertices, faces) == pytest.approx((5.812700, 0.698811), abs=1e-6)


def test_splitting_gives_the_golden_numbers():
    vertices, faces = split_longer_than(*torus(), 0.12)
    lengths = edge_lengths(vertices, unique_edges(faces)[0])
    assert (len(vertices), len(faces)) == (1080, 2160)
    assert area_and_volume(vertices, faces) == pytest.approx((5.812700, 0.698811), abs=1e-6)
    golden = (0.08601, 0.04568, 0.12653)
    assert (float(lengths.mean()), float(lengths.min()), float(lengths.max())) == pytest.approx(golden, abs=1e-5)


def test_stable_flips_and_collapse_give_the_golden_numbers():
    vertices, faces = split_longer_than(*torus(), 0.12)
    for area in (5.813760, 5.814104, 5.815437):
        faces = flip_edges(vertices, faces)
        assert area_and_volume(vertices, faces)[0] == pytest.approx(area, abs=2e-6)
    edges, _ = unique_edges(faces)
    valences = torch.bincount(torch.bincount(edges.reshape(-1)))
    assert valences.tolist() == [0, 0, 0, 0, 42, 54, 904, 22, 58]
    priority = (1 - edge_lengths(vertices, edges) / 0.1).clamp(min=0)
    vertices, faces = pack(*collapse_edges(vertices, faces, edges, priority))
    assert (len(vertices), len(faces)) == (1060, 2120)
    assert area_and_volume(vertices, faces)[1] == pytest.approx(0.697844, abs=1e-6)


@pytest.mark.parametrize(
    ("wanted", "count", "mean", "volume"), [(0.1, 848, 0.0954, 0.692), (0.05, 3368, 0.0481, 0.6967)]
)
def test_twelve_random_passes_come_near_the_golden_statistics(wanted: float, count: int, mean: float, volume: float):
    vertices, faces = passes("torch", wanted)
    lengths = edge_lengths(vertices, unique_edges(faces)[0])
    assert len(vertices) == pytest.approx(count, rel=0.04)
    assert float(lengths.mean()) == pytest.approx(mean, rel=0.02)
    assert area_and_volume(vertices, faces)[1] == pytest.approx(volume, rel=0.005)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wanted", [0.2, 0.1, 0.04])
def test_passes_keep_the_surface(backend: str, wanted: float):
    vertices, faces = passes(backend, wanted)
    assert is_watertight(faces)
    assert is_manifold(faces)
    assert is_consistently_oriented(faces)
    assert euler_characteristic(faces) == 0
    lengths = edge_lengths(vertices, unique_edges(faces)[0])
    assert float(((lengths > 0.4 * wanted) & (lengths < 1.7 * wanted)).float().mean()) > 0.97
    assert area_and_volume(vertices, faces)[1] == pytest.approx(0.698811, rel=0.05 if wanted > 0.1 else 0.015)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_seeds_give_equal_meshes(backend: str):
    one, two, other = passes(backend, 0.08), passes(backend, 0.08), passes(backend, 0.08, seed=1)
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
@pytest.mark.parametrize("wanted", [0.03, 0.1, 0.3])
def test_inputs_stay_as_they_are(backend: str, dtype: torch.dtype, wanted: float):
    vertices, faces = torus()
    faces = faces.to(dtype)
    before = vertices.clone(), faces.clone()
    length = torch.full((len(vertices),), wanted)
    _, result = remesh(vertices, faces, 0.5 * length, 1.5 * length, torch.Generator().manual_seed(0), backend=backend)
    assert torch.equal(vertices, before[0])
    assert torch.equal(faces, before[1])
    assert not torch.equal(result, faces.long())


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_are_averaged_along_with_the_position(backend: str):
    vertices, faces = torus()
    state = torch.cat((vertices, vertices.sum(1, keepdim=True)), dim=1)
    length = torch.full((len(vertices),), 0.1)
    state, _ = remesh(state, faces, 0.5 * length, 1.5 * length, torch.Generator().manual_seed(0), backend=backend)
    assert len(state) > len(vertices)
    torch.testing.assert_close(state[:, 3], state[:, :3].sum(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_edge_splits_beyond_the_allowed_number_of_vertices(backend: str):
    vertices, faces = torus()
    length = torch.full((len(vertices),), 0.02)
    generator = torch.Generator().manual_seed(0)
    result, _ = remesh(vertices, faces, 0.5 * length, 1.5 * length, generator, most_vertices=200, backend=backend)
    assert len(result) == len(vertices)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tetrahedron_is_not_collapsed_to_nothing(backend: str):
    vertices = torch.tensor(((0.0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)))
    faces = torch.tensor(((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)))
    generator = torch.Generator().manual_seed(0)
    length = torch.full((4,), 5.0)
    result, triangles = remesh(vertices, faces, length, 3 * length, generator, backend=backend)
    if backend == "numba":
        assert (len(result), len(triangles)) == (4, 4)
    assert is_watertight(triangles) or len(triangles) == 0


@pytest.mark.skipif(not HAVE_NUMBA, reason="needs numba")
def test_both_backends_split_alike():
    vertices, faces = torus()
    length = torch.full((len(vertices),), 0.08)
    results = []
    for backend in BACKENDS:
        generator = torch.Generator().manual_seed(0)
        moved, _ = remesh(vertices, faces, 0.0 * length, 1.5 * length, generator, backend=backend)
        results.append(moved)
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.skipif(not HAVE_NUMBA, reason="needs numba")
def test_edges_with_four_faces_are_split_on_all_of_them() -> None:
    from bundle3d.pipelines.isomer.remesh_numba import split

    state = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 1]], np.int32)  # a sheet closed onto itself, as repair makes of a triangle
    for count in (8, 32, 128):
        state, faces = split(state, faces, np.zeros(len(state), np.float32))
        assert faces.shape == (count, 3) and faces.max() == len(state) - 1
    area, volume = area_and_volume(torch.from_numpy(state), torch.from_numpy(faces).long())
    assert (area, volume) == pytest.approx((0.25, 0.0), abs=1e-6)
