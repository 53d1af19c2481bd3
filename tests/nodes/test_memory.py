"""How components are kept: types to store and to compute in, and layers that ComfyUI can stream."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

HALF, BRAIN, FULL, FP8 = torch.float16, torch.bfloat16, torch.float32, torch.float8_e4m3fn


@pytest.mark.usefixtures("extension", "card")
@pytest.mark.parametrize(
    ("stored", "network", "text_encoder"),
    [(FP8, BRAIN, BRAIN), (BRAIN, BRAIN, BRAIN), (HALF, HALF, BRAIN), (FULL, FULL, FULL)],
)
def test_what_components_compute_in(stored: torch.dtype, network: torch.dtype, text_encoder: torch.dtype) -> None:
    from bundle3d.nodes.memory import FLOATS, OUT_OF_RANGE_IN_HALF, compute_dtype

    module = nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 8).to(stored))  # the first layer is kept in full precision
    device = torch.device("cpu")
    assert compute_dtype(module, device, FLOATS) == network
    assert compute_dtype(module, device, OUT_OF_RANGE_IN_HALF) == text_encoder


@pytest.mark.usefixtures("extension", "card")
@pytest.mark.parametrize("stored", [FP8, BRAIN, HALF, FULL])
def test_a_chosen_type_takes_the_place_of_the_stored_one(stored: torch.dtype) -> None:
    from bundle3d.nodes.memory import hold_reconstruction

    for chosen, expected in ((None, FULL if stored == FULL else BRAIN), (BRAIN, BRAIN), (FULL, FULL)):
        module = nn.Sequential(nn.Linear(2, 8).to(stored))
        assert hold_reconstruction(module, dtype=chosen).compute_dtype == expected


@pytest.mark.usefixtures("extension")
def test_a_chosen_type_that_the_device_is_slow_with_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as model_management
    from bundle3d.nodes.memory import hold_reconstruction

    monkeypatch.setattr(model_management, "should_use_bf16", lambda *arguments, **options: False)
    assert hold_reconstruction(nn.Sequential(nn.Linear(2, 8)), dtype=BRAIN).compute_dtype == FULL


@pytest.mark.usefixtures("extension")
@pytest.mark.parametrize("stored", [FP8, HALF, FULL])
def test_held_layers_compute_as_before_with_weights_as_stored(stored: torch.dtype) -> None:
    from bundle3d.nodes.memory import Holder, store_weights

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 4))
    words = torch.tensor([[0, 3, 4]])
    store_weights(module, stored)
    expected: Any = words
    for part in module:
        weights = {name: tensor.float() for name, tensor in part.state_dict().items()}
        expected = torch.func.functional_call(part, weights, expected)
    cpu = torch.device("cpu")
    with Holder(module, cpu, cpu, FULL).use() as ready, torch.inference_mode():
        result = ready(words)
    assert torch.allclose(result, expected, atol=1e-6) and result.dtype == FULL
    assert module[1].weight.dtype == module[4].weight.dtype == stored
    assert all(hasattr(module[index], "comfy_cast_weights") for index in (1, 2, 3, 4))


@pytest.mark.usefixtures("extension")
def test_the_scale_of_a_scaled_file_is_kept() -> None:
    from bundle3d.nodes.memory import Holder, store_weights
    from bundle3d.pipelines.diffusion.loading.casting import cast_weights

    module = nn.Sequential(nn.Linear(4, 3, bias=False))
    weight = module[0].weight.detach().clone()
    module[0].weight.data = (weight / 0.5).to(FP8)
    cast_weights(module, FULL)
    module[0].register_buffer("weight_scale", torch.tensor(0.5), persistent=False)
    store_weights(module, FULL)
    cpu = torch.device("cpu")
    with Holder(module, cpu, cpu, FULL).use() as ready:
        result = ready(torch.eye(4))
    assert module[0].weight.dtype == FP8
    assert torch.allclose(result, weight.T, atol=0.05)


@pytest.mark.usefixtures("extension", "card")
@pytest.mark.parametrize(("stored", "expected"), [(FULL, FULL), (BRAIN, HALF), (HALF, HALF)])
def test_decoders_of_voxels_are_no_rougher_than_they_need_be(stored: torch.dtype, expected: torch.dtype) -> None:
    from bundle3d.nodes.memory import hold_vae, hold_voxel_decoder

    assert hold_voxel_decoder(nn.Sequential(nn.Linear(2, 8).to(stored))).compute_dtype == expected
    assert hold_vae(nn.Sequential(nn.Linear(2, 8).to(stored))).compute_dtype == BRAIN
