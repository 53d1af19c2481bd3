from __future__ import annotations

import itertools
import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.voxel_lookup import VoxelLookup

BACKENDS = ["numba", "torch"]


def some_voxels(resolution: int = 6, share: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    coords = torch.nonzero(torch.rand((resolution,) * 3, generator=generator) < share)
    coords = coords[torch.randperm(len(coords), generator=generator)]
    return coords, torch.rand(len(coords), 3, generator=generator)


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_to_a_walk_over_the_eight_corners(backend: str) -> None:
    coords, values = some_voxels()
    points = torch.rand((400, 3), generator=torch.Generator().manual_seed(1)) * 1.3 - 0.65
    sampled, found = VoxelLookup(coords, values, 6, backend).sample(points)
    row = {tuple(cell): i for i, cell in enumerate(coords.tolist())}
    for point, got, hit in zip(points.double().tolist(), sampled, found.tolist()):
        place = [(p + 0.5) * 6 - 0.5 for p in point]
        total, weight_sum = torch.zeros(3), 0.0
        for step in itertools.product((0, 1), repeat=3):
            cell = tuple(math.floor(p) + s for p, s in zip(place, step))
            if cell not in row:
                continue
            weight = math.prod(p - math.floor(p) if s else 1 - p + math.floor(p) for p, s in zip(place, step))
            total, weight_sum = total + weight * values[row[cell]], weight_sum + weight
        assert hit == (weight_sum > 0)
        assert torch.allclose(got, total / weight_sum if hit else total, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_constant_stays_constant_however_few_voxels_are_there(backend: str) -> None:
    coords, _ = some_voxels(share=0.15)
    points = torch.rand((3000, 3), generator=torch.Generator().manual_seed(2)) - 0.5
    sampled, found = VoxelLookup(coords, torch.full((len(coords), 6), 0.7), 6, backend).sample(points)
    assert torch.allclose(sampled[found], torch.tensor(0.7), atol=1e-6)
    assert (sampled[~found] == 0).all() and 0 < found.sum() < 3000


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_linear_field_between_all_its_voxels_is_exact(backend: str) -> None:
    axis = torch.arange(8)
    coords = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    slope = torch.tensor([[0.3, -0.2, 0.5], [1.0, 0.0, -1.0]])
    values = ((coords + 0.5) / 8 - 0.5) @ slope.T
    points = (torch.rand((500, 3), generator=torch.Generator().manual_seed(3)) - 0.5) * 0.87
    sampled, found = VoxelLookup(coords, values, 8, backend).sample(points)
    assert found.all() and torch.allclose(sampled, points @ slope.T, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_voxels_and_no_points(backend: str) -> None:
    empty = VoxelLookup(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 6), 8, backend)
    sampled, found = empty.sample(torch.zeros(4, 3))
    assert sampled.shape == (4, 6) and not found.any()
    assert empty.sample(torch.zeros(0, 3))[0].shape == (0, 6)


def test_values_that_do_not_fit_are_refused() -> None:
    coords, values = some_voxels()
    with pytest.raises(Bundle3DError, match="same voxels"):
        VoxelLookup(coords, values[1:], 6)
    with pytest.raises(Bundle3DError, match="NaN or infinite; start ComfyUI with --fp32-vae"):
        VoxelLookup(coords, values * math.nan, 6)
    with pytest.raises(Bundle3DError, match="twice"):
        VoxelLookup(torch.cat((coords, coords)), torch.cat((values, values)), 6)
