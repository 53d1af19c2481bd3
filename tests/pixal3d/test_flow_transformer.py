"""The flow transformer against itself written down token by token, and what must not change its result."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.config import FlowConfig
from bundle3d.pipelines.pixal3d.flow_transformer import Condition, FlowTransformer
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import (
    SHAPE,
    STRUCTURE,
    TEXTURE,
    random_condition,
    random_voxels,
    relative_error,
    small_flow,
)
from bundle3d.tests.pixal3d.naive_flow import naive_flow

TIMES = torch.tensor([0.7, 0.25], dtype=torch.float64)


def every_voxel(config: FlowConfig) -> SparseVoxels:
    """A full lattice, x slowest, as the structure stage has it."""
    return random_voxels([config.resolution**3], config.in_channels, config.resolution)


@pytest.mark.parametrize("config", [STRUCTURE, SHAPE, TEXTURE], ids=["structure", "shape", "texture"])
def test_it_is_what_the_formulas_say(config: FlowConfig) -> None:
    flow = small_flow(config)
    voxels = every_voxel(config) if config is STRUCTURE else random_voxels([23], config.in_channels, config.resolution)
    condition = random_condition(voxels, config)
    truth = naive_flow(
        flow.state_dict(),
        config.heads,
        voxels.features,
        voxels.coords[:, 1:],
        0.7,
        condition.tokens[0],
        condition.projected,
    )
    assert relative_error(flow(voxels, TIMES[:1], condition), truth) < 1e-4
    double = Condition(condition.tokens.double(), condition.projected.double())
    exact = flow.double()(voxels.with_features(voxels.features.double()), TIMES[:1], double, torch.float64)
    assert relative_error(exact, truth) < 1e-6


def test_no_condition_is_a_picture_of_zeros() -> None:
    flow, voxels = small_flow(), random_voxels([19, 7], SHAPE.in_channels, SHAPE.resolution)
    zeros = Condition(torch.zeros(2, 5, SHAPE.condition_width), torch.zeros(26, SHAPE.projected_width))
    torch.testing.assert_close(flow(voxels, TIMES, None), flow(voxels, TIMES, zeros), atol=2e-5, rtol=1e-5)


def test_objects_of_a_batch_do_not_mix() -> None:
    flow, voxels = small_flow(), random_voxels([19, 7], SHAPE.in_channels, SHAPE.resolution)
    condition = random_condition(voxels, SHAPE)
    both = flow(voxels, TIMES, condition)
    for item, rows in enumerate((slice(0, 19), slice(19, 26))):
        coords = voxels.coords[rows].clone()
        coords[:, 0] = 0
        single = SparseVoxels(coords, voxels.features[rows], voxels.resolution)
        own = Condition(condition.tokens[item : item + 1], condition.projected[rows])
        torch.testing.assert_close(both[rows], flow(single, TIMES[item : item + 1], own), atol=2e-5, rtol=1e-5)


def test_the_order_of_voxels_does_not_matter() -> None:
    flow, voxels = small_flow(), random_voxels([31], SHAPE.in_channels, SHAPE.resolution)
    condition = random_condition(voxels, SHAPE)
    order = torch.randperm(31, generator=torch.Generator().manual_seed(5))
    shuffled = SparseVoxels(voxels.coords[order], voxels.features[order], voxels.resolution)
    found = flow(shuffled, TIMES[:1], Condition(condition.tokens, condition.projected[order]))
    torch.testing.assert_close(found, flow(voxels, TIMES[:1], condition)[order], atol=2e-5, rtol=1e-5)


def test_all_of_place_time_and_pictures_matter() -> None:
    flow, voxels = small_flow(), random_voxels([31], SHAPE.in_channels, SHAPE.resolution)
    condition = random_condition(voxels, SHAPE)
    found = flow(voxels, TIMES[:1], condition)
    elsewhere = SparseVoxels(voxels.coords.flip(0), voxels.features, voxels.resolution)
    others = (
        flow(elsewhere, TIMES[:1], condition),
        flow(voxels, TIMES[1:], condition),
        flow(voxels, TIMES[:1], Condition(condition.tokens + 1, condition.projected)),
        flow(voxels, TIMES[:1], Condition(condition.tokens, condition.projected.flip(0))),
    )
    assert all(float((other - found).norm() / found.norm()) > 1e-3 for other in others)


def test_bfloat16_is_close() -> None:
    flow, voxels = small_flow(), random_voxels([31], SHAPE.in_channels, SHAPE.resolution)
    condition = random_condition(voxels, SHAPE)
    truth = flow(voxels, TIMES[:1], condition)
    for layer in (flow.blocks,):
        layer.to(torch.bfloat16)
    found = flow(voxels, TIMES[:1], condition, torch.bfloat16)
    assert found.dtype == torch.float32
    assert 0 < float((found - truth).norm() / truth.norm()) < 0.05


def test_gradients_reach_the_first_weights() -> None:
    flow = FlowTransformer(SHAPE)
    torch.nn.init.ones_(flow.out_layer.weight[0])
    voxels = random_voxels([9], SHAPE.in_channels, SHAPE.resolution)
    flow(voxels, TIMES[:1], random_condition(voxels, SHAPE)).square().sum().backward()
    for weight in (flow.input_layer.weight, flow.blocks[0].cross_attn.proj_linear.weight):
        assert weight.grad is not None and float(weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("wrong", ["channels", "times", "tokens", "projected", "nothing"])
def test_what_does_not_fit_is_refused(wrong: str) -> None:
    flow, voxels = small_flow(), random_voxels([9], SHAPE.in_channels, SHAPE.resolution)
    condition, times = random_condition(voxels, SHAPE), TIMES[:1]
    if wrong == "channels":
        voxels = voxels.with_features(voxels.features[:, 1:])
    elif wrong == "times":
        times = TIMES
    elif wrong == "tokens":
        condition = Condition(condition.tokens[..., 1:], condition.projected)
    elif wrong == "projected":
        condition = Condition(condition.tokens, condition.projected[1:])
    else:
        voxels, condition = SparseVoxels(voxels.coords[:0], voxels.features[:0], 8), None
    with pytest.raises(Bundle3DError, match="Expected") as refusal:
        flow(voxels, times, condition)
    assert "\n" not in str(refusal.value)
