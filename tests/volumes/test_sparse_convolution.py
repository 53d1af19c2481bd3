from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.volumes import sparse_convolution, sparse_convolution_numba
from bundle3d.pipelines.volumes.neighbours import neighbour_map
from bundle3d.pipelines.volumes.sparse_convolution import submanifold_convolution
from bundle3d.tests.rendering.cases import each_backend
from bundle3d.tests.volumes.voxels import at_voxels, dense_volume, random_voxels, relative
from hypothesis import given, settings
from hypothesis import strategies as st

RESOLUTION = 9


def case(
    incoming: int, outgoing: int, share: float = 0.3, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, ...]:
    """Voxels, their features, and random weights and bias."""
    coords = random_voxels(RESOLUTION, share, seed=seed)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    features = normal(coords.shape[0], incoming)
    return coords, features, normal(outgoing, 3, 3, 3, incoming), normal(outgoing)


def dense_convolution(
    coords: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The same in float64 by a convolution of the whole volume."""
    volume = dense_volume(coords, features.double(), RESOLUTION, 2)
    kernel = weight.double().permute(0, 4, 1, 2, 3)
    return at_voxels(torch.nn.functional.conv3d(volume, kernel, bias.double(), padding=1), coords)


@each_backend
@settings(deadline=None, max_examples=25)
@given(incoming=st.integers(1, 40), outgoing=st.integers(1, 40), share=st.floats(0.005, 1.0), seed=st.integers(0, 99))
def test_it_is_the_dense_convolution_at_the_voxels(
    backend: str, incoming: int, outgoing: int, share: float, seed: int
) -> None:
    coords, features, weight, bias = case(incoming, outgoing, share, seed)
    if not coords.shape[0]:
        return
    found = submanifold_convolution(features, weight, bias, neighbour_map(coords, RESOLUTION), backend)
    assert found.dtype == torch.float32
    assert relative(found, dense_convolution(coords, features, weight, bias)) < 1e-5


@each_backend
def test_blocks_do_not_show(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coords, features, weight, bias = case(8, 5)
    near = neighbour_map(coords, RESOLUTION)
    whole = submanifold_convolution(features, weight, bias, near, backend)
    monkeypatch.setattr(sparse_convolution, "CACHED_BYTES", 27 * 8 * 4 * 7)
    monkeypatch.setattr(sparse_convolution_numba, "LEAST_ROWS", 7)
    monkeypatch.setattr(sparse_convolution_numba, "BLOCK_BYTES", 0)
    assert torch.allclose(submanifold_convolution(features, weight, bias, near, backend), whole, atol=1e-5)


@each_backend
def test_rows_may_come_in_any_order(backend: str) -> None:
    coords, features, weight, bias = case(4, 6)
    shuffle = torch.randperm(int((coords[:, 0] == 0).sum()), generator=torch.Generator().manual_seed(5))
    order = torch.cat((shuffle, torch.arange(shuffle.shape[0], coords.shape[0])))
    plain = submanifold_convolution(features, weight, bias, neighbour_map(coords, RESOLUTION), backend)
    near = neighbour_map(coords[order], RESOLUTION)
    shuffled = submanifold_convolution(features[order], weight, bias, near, backend)
    assert torch.allclose(shuffled, plain[order], atol=1e-5)


@each_backend
def test_an_absent_neighbour_does_not_spread_what_is_not_finite(backend: str) -> None:
    coords = torch.tensor([[0, 0, 0, 0], [0, 4, 4, 4], [1, 0, 0, 1]], dtype=torch.int32)
    features = torch.tensor([[float("nan")], [1.0], [2.0]])
    found = submanifold_convolution(features, torch.ones(1, 3, 3, 3, 1), None, neighbour_map(coords, 5), backend)
    assert found.isnan().flatten().tolist() == [True, False, False]
    assert found[1:].flatten().tolist() == [1.0, 2.0]


@each_backend
def test_no_voxels_have_no_sums(backend: str) -> None:
    near = neighbour_map(torch.zeros(0, 4, dtype=torch.int32), 4)
    found = submanifold_convolution(torch.zeros(0, 3), torch.zeros(2, 3, 3, 3, 3), None, near, backend)
    assert found.shape == (0, 2)


def test_gradients_are_those_of_finite_differences() -> None:
    coords, features, weight, bias = case(3, 2, share=0.05, dtype=torch.float64)
    near = neighbour_map(coords, RESOLUTION)
    leaves = [part.requires_grad_() for part in (features, weight, bias)]
    assert torch.autograd.gradcheck(lambda *parts: submanifold_convolution(*parts, near), leaves)
    assert torch.autograd.gradcheck(lambda *parts: submanifold_convolution(*parts, None, near), leaves[:2])


@each_backend
def test_gradients_are_those_of_the_dense_convolution(backend: str) -> None:
    coords, *parts = case(7, 5)
    near = neighbour_map(coords, RESOLUTION)
    ours = [part.clone().requires_grad_() for part in parts]
    theirs = [part.clone().requires_grad_() for part in parts]
    pull = torch.randn(coords.shape[0], 5, generator=torch.Generator().manual_seed(9))
    submanifold_convolution(*ours, near, backend).backward(pull)
    dense_convolution(coords, *theirs).backward(pull.double())
    for one, other in zip(ours, theirs):
        assert one.grad is not None and other.grad is not None
        assert relative(one.grad, other.grad) < 1e-5


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
@pytest.mark.parametrize("channels", [(64, 64), (256, 8), (8, 512)])
def test_backends_agree(channels: tuple[int, int]) -> None:
    coords, features, weight, bias = case(*channels)
    near = neighbour_map(coords, RESOLUTION)
    one, other = (submanifold_convolution(features, weight, bias, near, backend) for backend in ("numba", "torch"))
    assert relative(one, other) < 1e-6


@each_backend
def test_inference_mode_reaches_all_blocks(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    coords, features, weight, bias = case(8, 5)
    near = neighbour_map(coords, RESOLUTION)
    plain = submanifold_convolution(features, weight, bias, near, backend)
    monkeypatch.setattr(sparse_convolution_numba, "LEAST_ROWS", 50)
    monkeypatch.setattr(sparse_convolution_numba, "BLOCK_BYTES", 0)
    with torch.inference_mode():
        found = submanifold_convolution(features.clone(), weight, bias, neighbour_map(coords, RESOLUTION), backend)
    assert torch.allclose(found, plain, atol=1e-5)


def test_half_precision_keeps_its_type() -> None:
    coords, features, weight, bias = case(16, 16)
    near = neighbour_map(coords, RESOLUTION)
    found = submanifold_convolution(features.bfloat16(), weight.bfloat16(), bias.bfloat16(), near)
    assert found.dtype == torch.bfloat16
    assert relative(found, dense_convolution(coords, features, weight, bias)) < 0.01


def test_refusals() -> None:
    coords, features, weight, bias = case(4, 6)
    near = neighbour_map(coords, RESOLUTION)
    with pytest.raises(Bundle3DError, match="weights of shape"):
        submanifold_convolution(features, weight.permute(0, 4, 1, 2, 3), bias, near)
    with pytest.raises(Bundle3DError, match="bias of shape"):
        submanifold_convolution(features, weight, bias[:3], near)
    with pytest.raises(Bundle3DError, match="neighbours of shape"):
        submanifold_convolution(features[1:], weight, bias, near)
