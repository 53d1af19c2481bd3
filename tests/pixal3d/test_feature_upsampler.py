"""NAF against its formulas written down once more, and features read here and there against the whole map."""

from __future__ import annotations

import math

import torch
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler, UpsamplerConfig
from bundle3d.pipelines.volumes.back_projection import sample_features
from bundle3d.tests.pixal3d.make_small import randomised, relative_error
from torch.nn import functional

CONFIG = UpsamplerConfig(width=16, blocks=2, periods=4)
State = dict[str, torch.Tensor]


def small_upsampler() -> FeatureUpsampler:
    return randomised(FeatureUpsampler(CONFIG), 6)


def picture(size: int) -> torch.Tensor:
    return torch.rand(3, size, size, generator=torch.Generator().manual_seed(size))


def convolved(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """A convolution as a sum over its shifts of the mirrored map (C, S, S)."""
    weight, size = state[f"{name}.weight"], x.shape[-1]
    reach = weight.shape[-1] // 2
    mirrored = [abs(i) if i < size else 2 * size - 2 - i for i in range(-reach, size + reach)]
    x = x[:, mirrored][:, :, mirrored]
    total = state[f"{name}.bias"][:, None, None].expand(-1, size, size)
    for dy in range(weight.shape[-2]):
        for dx in range(weight.shape[-1]):
            total = total + torch.einsum("oc,cyx->oyx", weight[:, :, dy, dx], x[:, dy : dy + size, dx : dx + size])
    return total


def normed(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    groups = x.reshape(8, -1)
    centred = groups - groups.mean(1, keepdim=True)
    x = (centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
    return x * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def naive_queries(state: State, x: torch.Tensor, size: int) -> torch.Tensor:
    """(2 * width, size, size)."""
    state = {name.removeprefix("image_encoder."): tensor.double() for name, tensor in state.items()}
    stacks = []
    for stack in ("encoder", "sem_encoder"):
        hidden = convolved(state, f"{stack}.0", x.double())
        for block in (1, 2):
            for half in (1, 2):
                hidden = normed(state, f"{stack}.{block}.norm{half}", hidden)
                hidden = convolved(state, f"{stack}.{block}.conv{half}", hidden / (1 + torch.exp(-hidden)))
        stacks.append(hidden)
    factor = x.shape[-1] // size
    pooled = torch.cat(stacks).unflatten(2, (size, factor)).unflatten(1, (size, factor)).mean((2, 4))
    out = pooled.clone()
    for y in range(size):
        for x_ in range(size):
            centre = [2 * (place + 0.5) / size - 1 for place in (y, x_)]
            angles = torch.tensor([2 * math.pi * c / 100 ** (2 * j / (2 * 4)) for c in centre for j in range(4)])
            for head in range(CONFIG.heads):
                own = pooled[16 * head : 16 * (head + 1), y, x_]
                turned = torch.cat((-own[8:], own[:8]))
                out[16 * head : 16 * (head + 1), y, x_] = own * angles.repeat(2).cos() + turned * angles.repeat(2).sin()
    return out


def test_queries_are_what_the_formulas_say() -> None:
    upsampler = small_upsampler()
    patches = torch.randn(12, 4, 4, generator=torch.Generator().manual_seed(1))
    for size in (16, 8):
        found = upsampler(picture(16), patches, size)
        truth = naive_queries(upsampler.state_dict(), picture(16), size)
        assert found.heads == 2 and relative_error(found.queries, truth) < 1e-4
        keys = truth.unflatten(2, (4, -1)).unflatten(1, (4, -1)).mean((2, 4))
        assert relative_error(found.keys, keys) < 1e-4


def test_features_read_here_and_there_are_those_of_the_whole_map() -> None:
    upsampler = small_upsampler()
    patches = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(2))
    upsampled = upsampler(picture(48), patches, 48)
    coordinates = 2.6 * torch.rand(300, 2, generator=torch.Generator().manual_seed(3)) - 1.3
    everywhere = upsampled.everywhere()
    assert everywhere.shape == (12, 48, 48)
    torch.testing.assert_close(upsampled(coordinates), sample_features(everywhere, coordinates), atol=1e-5, rtol=1e-5)
    grid = functional.grid_sample(everywhere[None], coordinates[None, None], padding_mode="border", align_corners=False)
    torch.testing.assert_close(upsampled(coordinates), grid[0, :, 0].T, atol=1e-5, rtol=1e-5)


def test_one_value_everywhere_stays_that_value() -> None:
    patches = torch.arange(12.0)[:, None, None].expand(-1, 6, 6)
    found = small_upsampler()(picture(24), patches, 24)(torch.zeros(5, 2))
    torch.testing.assert_close(found, torch.arange(12.0).expand(5, -1))


def test_names_and_numbers_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = FeatureUpsampler(UpsamplerConfig())
    assert len(network.state_dict()) == 37
    assert sum(parameter.numel() for parameter in network.parameters()) == 662_528
    assert network.state_dict()["image_encoder.rope.periods"].shape == (16,)
