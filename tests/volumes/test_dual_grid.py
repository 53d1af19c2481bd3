from __future__ import annotations

import itertools
import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.mesh import Mesh
from bundle3d.pipelines.meshes.repair import repair
from bundle3d.pipelines.meshes.topology import euler_characteristic, is_watertight
from bundle3d.pipelines.volumes.dual_grid import DualGrid, dual_grid_mesh
from bundle3d.pipelines.volumes.sorted_keys import find_shifted, join_shifted
from bundle3d.pipelines.volumes.surface_nets import surface_nets
from bundle3d.pipelines.volumes.voxelise import dual_grid_of_mesh

from .fields import Field, signed_volume, sphere, torus

# Voxels around the edge that a voxel owns along x, y and z, in the order of the quad.
AROUND = (("000", "001", "011", "010"), ("000", "100", "101", "001"), ("000", "010", "110", "100"))
QUADS = [[tuple(map(int, step)) for step in steps] for steps in AROUND]


def random_grid(seed: int, resolution: int = 7, share: float = 0.6) -> DualGrid:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.nonzero(torch.rand((resolution,) * 3, generator=generator) < share)
    cells = cells[torch.randperm(len(cells), generator=generator)]
    count = len(cells)
    return DualGrid(
        cells,
        torch.rand(count, 3, generator=generator) * 2 - 0.5,
        torch.rand(count, 3, generator=generator) < 0.4,
        torch.rand(count, generator=generator),
        resolution,
    )


def isosurface(field: Field, size: int = 49) -> Mesh:
    axis = torch.linspace(-0.5, 0.5, size)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    return surface_nets(-field(2.2 * x, 2.2 * y, 2.2 * z).contiguous(), (-0.5,) * 3, 1.0 / (size - 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("first_larger", [False, True])
def test_one_flagged_edge_gives_two_triangles_along_the_heavier_diagonal(axis: int, first_larger: bool) -> None:
    steps = torch.tensor(QUADS[axis])
    edges = torch.zeros(4, 3, dtype=torch.bool)
    edges[0, axis] = True
    weights = torch.tensor([2.0, 1.0, 2.0, 1.0] if first_larger else [1.0, 2.0, 1.0, 2.0])
    vertices, faces = dual_grid_mesh(DualGrid(steps + 2, torch.full((4, 3), 0.5), edges, weights, 8))
    assert faces.tolist() == ([[0, 1, 2], [0, 2, 3]] if first_larger else [[0, 1, 3], [3, 1, 2]])
    assert torch.allclose(vertices, (steps + 2.5) / 8 - 0.5)
    a, b, c = vertices[faces].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    assert (normal[:, axis] < 0).all() and (normal.abs().argmax(1) == axis).all()


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_neighbour_gives_no_quad_but_keeps_the_vertices(missing: int) -> None:
    keep = [i for i in range(4) if i != missing]
    grid = DualGrid(
        torch.tensor(QUADS[1])[keep], torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.bool), torch.ones(3), 4
    )
    vertices, faces = dual_grid_mesh(grid)
    assert vertices.shape == (3, 3) and faces.shape == (0, 3)


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("seed", [0, 1])
def test_equal_to_a_brute_force_walk(seed: int, backend: str) -> None:
    grid = random_grid(seed)
    row = {tuple(cell): i for i, cell in enumerate(grid.coords.tolist())}
    expected = []
    for axis, (i, cell) in itertools.product(range(3), enumerate(grid.coords.tolist())):
        quad = [row.get(tuple(c + s for c, s in zip(cell, step)), -1) for step in QUADS[axis]]
        if not grid.edges[i, axis] or min(quad) < 0:
            continue
        a, b, c, d = quad
        w = grid.split_weights
        first = w[a] * w[c] > w[b] * w[d]
        expected += [(a, b, c), (a, c, d)] if first else [(a, b, d), (d, b, c)]
    vertices, faces = dual_grid_mesh(grid, backend)
    assert sorted(map(tuple, faces.tolist())) == sorted(expected)
    assert torch.equal(vertices, (grid.coords + grid.offsets) / 7 - 0.5)


def test_the_far_side_of_the_lattice_is_no_neighbour_of_the_near_one() -> None:
    coords = torch.tensor([[0, 0, 3], [0, 1, 0], [0, 1, 3], [0, 2, 0], [3, 3, 3]])
    grid = DualGrid(coords, torch.zeros(5, 3), torch.ones(5, 3, dtype=torch.bool), torch.ones(5), 4)
    assert dual_grid_mesh(grid)[1].shape == (0, 3)


@pytest.mark.parametrize(("field", "euler"), [(sphere, 2), (torus, 0)])
def test_a_voxelised_surface_comes_back_closed_with_its_volume_and_genus(field: Field, euler: int) -> None:
    mesh = isosurface(field)
    vertices, faces = dual_grid_mesh(dual_grid_of_mesh(mesh.vertices, mesh.faces, 40))
    assert is_watertight(faces)
    assert euler_characteristic(faces) == euler
    again = repair(Mesh(vertices, faces))
    assert signed_volume(again.vertices, again.faces) == pytest.approx(
        signed_volume(mesh.vertices, mesh.faces), rel=0.01
    )


def test_planes_and_sharp_corners_of_a_box_keep_within_hundredths_of_a_voxel() -> None:
    corner = torch.tensor([[x, y, z] for x in (-0.31, 0.22) for y in (-0.2, 0.33) for z in (-0.27, 0.29)])
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = torch.tensor([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    vertices, found = dual_grid_mesh(dual_grid_of_mesh(corner, faces, 32))
    assert is_watertight(found)
    gap = torch.minimum((vertices - corner[0]).abs(), (vertices - corner[7]).abs()).amin(1)
    assert gap.max() * 32 < 0.03
    reached = torch.cdist(corner, vertices).amin(1) * 32
    assert reached.max() < 0.05


def test_voxelising_by_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = isosurface(torus, 21)
    whole = dual_grid_of_mesh(mesh.vertices, mesh.faces, 24)
    monkeypatch.setattr("bundle3d.pipelines.volumes.voxelise.CANDIDATES", 50)
    chunked = dual_grid_of_mesh(mesh.vertices, mesh.faces, 24)
    assert torch.equal(whole.coords, chunked.coords) and torch.equal(whole.edges, chunked.edges)
    assert torch.allclose(whole.offsets, chunked.offsets)


def test_an_empty_mesh_gives_an_empty_grid_and_back() -> None:
    grid = dual_grid_of_mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), 16)
    vertices, faces = dual_grid_mesh(grid)
    assert vertices.shape == (0, 3) and faces.shape == (0, 3)


@pytest.mark.parametrize("shift", [1, 9, 300])
def test_walks_along_sorted_keys_equal_searches(shift: int) -> None:
    keys = torch.unique(torch.randint(0, 3000, (900,), generator=torch.Generator().manual_seed(1)))
    queries = keys[::3]
    assert torch.equal(find_shifted(keys, queries, shift, "numba"), find_shifted(keys, queries, shift, "torch"))
    assert torch.equal(join_shifted(keys, shift, "numba"), join_shifted(keys, shift, "torch"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"coords": torch.tensor([[0, 0, 9]])}, "0..7"),
        ({"coords": torch.zeros(1, 4, dtype=torch.int64)}, "batch column"),
        ({"offsets": torch.zeros(2, 3)}, "offsets"),
        ({"offsets": torch.full((1, 3), math.nan)}, "NaN or infinite; start ComfyUI with --fp32-vae"),
        ({"edges": torch.zeros(1, 3)}, "booleans"),
        ({"resolution": 0}, "resolution"),
    ],
)
def test_bad_grids_are_refused_in_one_sentence(change: dict[str, object], word: str) -> None:
    good: dict[str, object] = {
        "coords": torch.zeros(1, 3, dtype=torch.int64),
        "offsets": torch.zeros(1, 3),
        "edges": torch.zeros(1, 3, dtype=torch.bool),
        "split_weights": torch.ones(1),
        "resolution": 8,
    }
    with pytest.raises(Bundle3DError, match=word):
        DualGrid(**{**good, **change})  # type: ignore[arg-type]


def test_a_voxel_that_occurs_twice_is_refused() -> None:
    grid = DualGrid(torch.ones(2, 3).int(), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), torch.ones(2), 8)
    with pytest.raises(Bundle3DError, match="twice"):
        dual_grid_mesh(grid)
