"""Layers that cast their weights."""

from __future__ import annotations

import copy

import pytest
import torch
from bundle3d.pipelines.diffusion.loading.casting import CastingLayer, CastingLinear, cast_weights, compute_dtype_of
from bundle3d.tests.diffusion.loading.test_transformer import output
from bundle3d.tests.support.tiny_files import rounded
from bundle3d.tests.support.tiny_flux import tiny_t5, tiny_transformer
from torch import nn
from transformers.models.t5.modeling_t5 import T5LayerNorm

LAYERS = {
    "linear": lambda: nn.Linear(6, 4),
    "linear without bias": lambda: nn.Linear(6, 4, bias=False),
    "layer norm": lambda: nn.LayerNorm(6),
    "layer norm without weight": lambda: nn.LayerNorm(6, elementwise_affine=False),
    "RMS norm": lambda: nn.RMSNorm(6, eps=1e-6),
    "T5's norm": lambda: T5LayerNorm(6),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_stored_in_its_own_type_computes_as_before(make, dtype: torch.dtype) -> None:
    layer = make().to(dtype).requires_grad_(False)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    truth = layer(x)
    torch.testing.assert_close(cast_weights(layer, dtype)(x), truth, rtol=2e-3, atol=0)


@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_fp8_stays_fp8(stored: torch.dtype) -> None:
    """Through computing, moving and copying; and the result is that of the rounded weights."""
    transformer = cast_weights(tiny_transformer().to(stored), torch.float32)
    before = copy.deepcopy(transformer.state_dict())
    truth = output(rounded(tiny_transformer(), stored))
    torch.testing.assert_close(output(transformer), truth, rtol=0, atol=2e-6)
    torch.testing.assert_close(output(copy.deepcopy(transformer).to("cpu")), truth, rtol=0, atol=2e-6)
    after = transformer.state_dict()
    assert all(
        after[name].dtype == stored and torch.equal(after[name].float(), before[name].float()) for name in before
    )


def test_weights_may_lie_elsewhere() -> None:
    """The layer asks for its weights where the input is; on the meta device nothing else can be seen of it."""
    layer = cast_weights(nn.Linear(6, 4).requires_grad_(False), torch.bfloat16)
    assert layer(torch.empty(2, 6, device="meta", dtype=torch.bfloat16)).device.type == "meta"
    assert layer.weight.device.type == "cpu"


def test_casting_again_takes_in_layers_that_were_added() -> None:
    module = cast_weights(nn.Sequential(nn.Linear(6, 4)), torch.float32)
    first = module[0]
    module.append(nn.Linear(4, 2).to(torch.float8_e4m3fn))
    cast_weights(module, torch.float32)
    assert module[0] is first and type(module[1]) is CastingLinear
    assert module[1].weight.dtype == torch.float8_e4m3fn


def test_a_layer_that_casts_in_its_own_way_is_left_alone() -> None:
    class Foreign(nn.Linear):
        pass

    layer = cast_weights(Foreign(6, 4).to(torch.float8_e4m3fn), torch.bfloat16)
    assert type(layer) is Foreign and layer.weight.dtype == torch.float8_e4m3fn


def test_what_cannot_cast_is_converted() -> None:
    convolution = cast_weights(nn.Conv2d(3, 4, 1).to(torch.float8_e4m3fn), torch.bfloat16)
    assert not isinstance(convolution, CastingLayer)
    assert convolution.weight.dtype == torch.bfloat16


def test_compute_dtype() -> None:
    t5 = cast_weights(tiny_t5().to(torch.float8_e4m3fn), torch.bfloat16)
    assert compute_dtype_of(t5) == torch.bfloat16
    assert compute_dtype_of(tiny_t5()) == torch.float32


def test_gradients_reach_what_is_trained_on_top() -> None:
    """A layer over frozen fp8 weights trains."""
    base = cast_weights(nn.Linear(6, 4).to(torch.float8_e4m3fn).requires_grad_(False), torch.float32)
    x = torch.randn(2, 6, requires_grad=True)
    base(x).sum().backward()
    torch.testing.assert_close(x.grad, base.weight.float().sum(0).expand(2, 6))
