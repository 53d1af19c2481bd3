from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.volumes.subdivide import channel_to_space, subdivide_coords
from bundle3d.tests.volumes.voxels import random_voxels


def test_children_follow_their_parents_in_order() -> None:
    """A loop in the words of the specification."""
    coords = random_voxels(5)
    generator = torch.Generator().manual_seed(1)
    children = torch.rand(coords.shape[0], 8, generator=generator) < 0.4
    features = torch.randn(coords.shape[0], 8 * 3, generator=generator)
    expected_coords, expected_features = [], []
    for row in range(coords.shape[0]):
        item, x, y, z = coords[row].tolist()
        for s in range(8):
            if children[row, s]:
                expected_coords.append((item, 2 * x + s % 2, 2 * y + s // 2 % 2, 2 * z + s // 4))
                expected_features.append(features[row, 3 * s : 3 * s + 3])
    found = subdivide_coords(coords, children)
    assert found.dtype == torch.int32
    assert found.tolist() == [list(row) for row in expected_coords]
    assert torch.equal(channel_to_space(features, children), torch.stack(expected_features))


def test_all_children_fill_the_finer_lattice() -> None:
    coords = random_voxels(4, share=2.0)
    found = subdivide_coords(coords, torch.ones(coords.shape[0], 8, dtype=torch.bool))
    assert len({tuple(row) for row in found.tolist()}) == 2 * 8**3
    assert found[:, 1:].aminmax() == (0, 7)


def test_no_children_leave_nothing() -> None:
    children = torch.zeros(3, 8, dtype=torch.bool)
    assert subdivide_coords(torch.zeros(3, 4, dtype=torch.int32), children).shape == (0, 4)
    assert channel_to_space(torch.zeros(3, 16), children).shape == (0, 2)


def test_gradients_reach_the_features_of_the_children_alone() -> None:
    features = torch.randn(6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    children = torch.arange(48).reshape(6, 8) % 3 == 0
    assert torch.autograd.gradcheck(lambda part: channel_to_space(part, children), (features,))
    channel_to_space(features, children).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, children.double().repeat_interleave(2, dim=1))


def test_refusals() -> None:
    children = torch.ones(2, 8, dtype=torch.bool)
    with pytest.raises(Bundle3DError, match="logits with zero"):
        channel_to_space(torch.zeros(3, 8), children)
    with pytest.raises(Bundle3DError, match="logits with zero"):
        subdivide_coords(torch.zeros(2, 4, dtype=torch.int32), children.float())
    with pytest.raises(Bundle3DError, match="channels"):
        channel_to_space(torch.zeros(2, 9), children)
