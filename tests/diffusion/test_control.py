from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.control import Control, check_control, control_residuals, is_active, prepare_control
from bundle3d.pipelines.diffusion.models import BundleModels
from bundle3d.pipelines.diffusion.velocity import Conditioning
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.support.tiny_flux import (
    LATENT_CHANNELS,
    LAYERS,
    POOLED_WIDTH,
    SINGLE_LAYERS,
    TEXT_WIDTH,
    tiny_control_network,
    tiny_models,
)
from diffusers.models.controlnets.controlnet_flux import FluxMultiControlNetModel

HEIGHT, WIDTH = 32, 64
IMAGE = torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(0))
LATENTS = torch.randn(1, LATENT_CHANNELS, 4, 8, generator=torch.Generator().manual_seed(1))
CONDITIONING = Conditioning(torch.ones(1, 5, TEXT_WIDTH), torch.ones(1, POOLED_WIDTH), 3.5)


@pytest.fixture(scope="module")
def models() -> BundleModels:
    return tiny_models()


@torch.no_grad()
def residuals(models: BundleModels, *controls: Control) -> tuple[torch.Tensor, torch.Tensor]:
    """What is added after each block: (blocks, tokens, width) for the double and for the single blocks."""
    prepared = [
        prepare_control(models, control, HEIGHT, WIDTH, torch.Generator().manual_seed(0)) for control in controls
    ]
    total = control_residuals(prepared, LATENTS, 0.7, CONDITIONING, models)
    assert total is not None
    assert total.double is not None
    assert total.single is not None
    return torch.cat(list(total.double)), torch.cat(list(total.single))


@pytest.mark.parametrize(("end", "active"), [(0.65, 24), (0.3, 11), (0.2, 7), (1.0, 37), (0.0, 0)])
def test_a_control_acts_at_evaluations_that_lie_within_its_shares(end: float, active: int) -> None:
    control = Control(IMAGE, tiny_control_network(), end=end)
    acts = [is_active(control, index, 37) for index in range(37)]
    assert sum(acts) == active
    assert acts == sorted(acts, reverse=True)


def test_a_control_may_start_late() -> None:
    control = Control(IMAGE, tiny_control_network(), start=0.5, end=1.0)
    assert [index for index in range(10) if is_active(control, index, 10)] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("mode", "number"), [("canny", 0), ("tile", 1), ("depth", 2), ("blur", 3), ("pose", 4), ("gray", 5), ("lq", 6)]
)
def test_modes_have_the_union_networks_numbers(models: BundleModels, mode: str, number: int) -> None:
    control = Control(IMAGE, tiny_control_network(), mode)
    assert prepare_control(models, control, HEIGHT, WIDTH, torch.Generator()).mode_id == number


def test_a_mode_that_the_union_network_lacks_is_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"canny, tile, .* but got 'normal'; choose"):
        check_control(Control(IMAGE, tiny_control_network(), "normal"))
    check_control(Control(IMAGE, tiny_control_network(num_mode=None), "normal"))
    with pytest.raises(Bundle3DError, match="modes canny, tile, but"):
        check_control(Control(IMAGE, tiny_control_network(num_mode=2), "depth"))


@pytest.mark.parametrize(("start", "end"), [(0.7, 0.2), (-0.1, 0.5), (0.0, 1.5), (float("nan"), 1.0)])
def test_shares_that_are_none_are_refused(start: float, end: float) -> None:
    with pytest.raises(Bundle3DError, match=f"got {start} to {end}; change"):
        check_control(Control(IMAGE, tiny_control_network(), start=start, end=end))


@pytest.mark.parametrize("down_scale", [0.0, 0.5, float("nan")])
def test_a_picture_is_not_made_finer(down_scale: float) -> None:
    with pytest.raises(Bundle3DError, match=f"at least 1, .* but got {down_scale}; raise"):
        check_control(Control(IMAGE, tiny_control_network(), down_scale=down_scale))


def test_a_network_of_one_use_takes_its_map_and_no_mode(models: BundleModels) -> None:
    control = Control(IMAGE, tiny_control_network(num_mode=None), "normal")
    assert prepare_control(models, control, HEIGHT, WIDTH, torch.Generator()).mode_id is None
    double, single = residuals(models, control)
    assert len(double) == LAYERS
    assert len(single) == SINGLE_LAYERS


def test_the_mode_matters(models: BundleModels) -> None:
    net = tiny_control_network()
    canny, depth = (residuals(models, Control(IMAGE, net, mode))[0] for mode in ("canny", "depth"))
    assert not torch.allclose(canny, depth, atol=1e-4)


def test_what_is_added_grows_with_the_scale(models: BundleModels) -> None:
    net = tiny_control_network()
    whole, half = (residuals(models, Control(IMAGE, net, scale=scale)) for scale in (1.0, 0.5))
    torch.testing.assert_close(half[0], whole[0] / 2)
    torch.testing.assert_close(half[1], whole[1] / 2)


def test_several_controls_add_up(models: BundleModels) -> None:
    union, normal = tiny_control_network(), tiny_control_network(11, num_mode=None)
    controls = (
        Control(IMAGE, union, "tile", scale=0.6),
        Control(IMAGE, union, "depth", scale=0.4),
        Control(IMAGE, normal, "normal", scale=0.3),
    )
    together = residuals(models, *controls)
    each = [residuals(models, control) for control in controls]
    for kind in (0, 1):
        torch.testing.assert_close(together[kind], sum(alone[kind] for alone in each))


def test_networks_of_different_depths_add_up(models: BundleModels) -> None:
    shallow = tiny_control_network(12, num_layers=1, num_single_layers=2)
    controls = Control(IMAGE, tiny_control_network()), Control(IMAGE, shallow)
    together = residuals(models, *controls)
    each = [residuals(models, control) for control in controls]
    for kind in (0, 1):
        torch.testing.assert_close(together[kind], each[0][kind] + each[1][kind])


def test_a_network_without_single_blocks_leaves_those_alone(models: BundleModels) -> None:
    double_only = Control(IMAGE, tiny_control_network(13, num_single_layers=0))
    both = Control(IMAGE, tiny_control_network())
    together, alone = residuals(models, double_only, both), residuals(models, both)
    torch.testing.assert_close(together[1], alone[1])
    assert not torch.allclose(together[0], alone[0], atol=1e-4)


def test_no_controls_add_nothing(models: BundleModels) -> None:
    assert control_residuals([], LATENTS, 0.7, CONDITIONING, models) is None


@torch.no_grad()
def test_a_network_that_takes_pixels_gets_them(models: BundleModels) -> None:
    net = tiny_control_network(14, num_mode=None, conditioning_embedding_channels=4, patch_size=2, num_single_layers=0)
    prepared = prepare_control(models, Control(IMAGE, net, "canny"), HEIGHT, WIDTH, torch.Generator())
    torch.testing.assert_close(prepared.condition, IMAGE.movedim(-1, 0)[None] * 2 - 1)
    added = control_residuals([prepared], LATENTS, 0.7, CONDITIONING, models)
    assert added is not None
    assert added.double is not None
    assert added.double[2] is added.double[0]  # two samples take turns, as diffusers repeats them for such networks
    assert added.double[1] is not added.double[0]


def test_sum_is_that_of_diffusers_multi_controlnet(models: BundleModels) -> None:
    first, second = tiny_control_network(), tiny_control_network(11)
    controls = Control(IMAGE, first, "tile", 0.6), Control(IMAGE, second, "canny", 0.3)
    inputs = {}

    def record(module: torch.nn.Module, args: object, kwargs: dict) -> None:
        inputs[module] = kwargs

    hooks = [net.holder.module.register_forward_pre_hook(record, with_kwargs=True) for net in (first, second)]
    ours = residuals(models, *controls)
    for hook in hooks:
        hook.remove()
    shared = {**inputs[first.holder.module]}
    per_net = [inputs[net.holder.module] for net in (first, second)]
    shared.pop("return_dict")
    shared["controlnet_cond"] = [own["controlnet_cond"] for own in per_net]
    shared["controlnet_mode"] = [own["controlnet_mode"][0] for own in per_net]
    shared["conditioning_scale"] = [own["conditioning_scale"] for own in per_net]
    double, single = FluxMultiControlNetModel([first.holder.module, second.holder.module])(**shared, return_dict=False)
    torch.testing.assert_close(ours[0], torch.cat([double[0], double[0], double[1]]))
    torch.testing.assert_close(ours[1], torch.cat([single[0], single[0], single[1], single[1], single[2]]))
