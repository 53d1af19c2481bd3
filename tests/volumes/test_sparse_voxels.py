from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.sparse_voxels import (
    SparseVoxels,
    sorted_rows,
    unique_rows,
    voxel_keys,
    voxels_of_keys,
)
from bundle3d.tests.volumes.voxels import random_voxels
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, max_examples=30)
@given(resolution=st.integers(1, 2048), items=st.integers(1, 5), seed=st.integers(0, 1000))
def test_keys_name_voxels_and_sort_like_them(resolution: int, items: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    item = torch.randint(items, (40, 1), generator=generator)
    coords = torch.cat((item, torch.randint(resolution, (40, 3), generator=generator)), dim=1).int()
    assert torch.equal(voxels_of_keys(voxel_keys(coords, resolution), resolution), coords)
    ordered, rows = sorted_rows(coords, resolution)
    assert ordered.tolist() == sorted(coords.tolist())
    assert torch.equal(coords[rows], ordered)
    assert unique_rows(coords, resolution).tolist() == sorted(map(list, set(map(tuple, coords.tolist()))))


def test_lengths_count_the_rows_of_every_batch_item() -> None:
    coords = torch.tensor([[0, 1, 2, 3], [2, 0, 0, 0], [2, 3, 3, 3]], dtype=torch.int32)
    voxels = SparseVoxels(coords, torch.zeros(3, 5), 4)
    assert voxels.lengths() == [1, 0, 2]
    assert SparseVoxels(coords[:0], torch.zeros(0, 5), 4).lengths() == []


def test_other_features_at_the_same_voxels() -> None:
    coords = random_voxels(4)
    voxels = SparseVoxels(coords, torch.zeros(coords.shape[0], 5), 4)
    others = voxels.with_features(torch.ones(coords.shape[0], 2))
    assert others.coords is coords and others.features.shape[1] == 2 and others.resolution == 4
    with pytest.raises(Bundle3DError, match="one row for each voxel"):
        voxels.with_features(torch.ones(coords.shape[0] + 1, 2))


@pytest.mark.parametrize(
    ("coords", "resolution", "message"),
    [
        (torch.zeros(3, 3, dtype=torch.int32), 4, "convert"),
        (torch.zeros(3, 4), 4, "convert"),
        (torch.tensor([[0, 0, 0, 4]], dtype=torch.int32), 4, "resolution"),
        (torch.tensor([[0, 0, -1, 0]], dtype=torch.int32), 4, "resolution"),
        (torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.int32), 4, "sorted"),
        (torch.tensor([[-1, 0, 0, 0]], dtype=torch.int32), 4, "sorted"),
        (torch.zeros(0, 4, dtype=torch.int32), 0, "at least 1"),
    ],
)
def test_refusals(coords: torch.Tensor, resolution: int, message: str) -> None:
    with pytest.raises(Bundle3DError, match=message):
        SparseVoxels(coords, torch.zeros(coords.shape[0], 1), resolution)
