"""The structure decoder against its formulas written down once more, voxel by voxel where the order matters."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.tests.pixal3d.make_small import relative_error, small_structure_decoder
from torch.nn import functional

State = dict[str, torch.Tensor]


def convolved(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    """A 3x3x3 convolution as a sum over its 27 shifts, of (C, R, R, R)."""
    weight, size = state[f"{name}.weight"], x.shape[-1]
    padded = functional.pad(x, [1] * 6)
    total = state[f"{name}.bias"][:, None, None, None].expand(-1, size, size, size)
    for dx in range(3):
        for dy in range(3):
            for dz in range(3):
                part = padded[:, dx : dx + size, dy : dy + size, dz : dz + size]
                total = total + torch.einsum("oc,cxyz->oxyz", weight[:, :, dx, dy, dz], part)
    return total


def normed(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(0)
    each = state[f"{name}.weight"], state[f"{name}.bias"]
    weight, bias = (value[:, None, None, None] for value in each)
    return centred / (centred.square().mean(0) + 1e-5).sqrt() * weight + bias


def silu(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def residual(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    hidden = convolved(state, f"{name}.conv1", silu(normed(state, f"{name}.norm1", x)))
    return x + convolved(state, f"{name}.conv2", silu(normed(state, f"{name}.norm2", hidden)))


def doubled(state: State, name: str, x: torch.Tensor) -> torch.Tensor:
    hidden, size = convolved(state, f"{name}.conv", x), x.shape[-1]
    out = torch.zeros(len(hidden) // 8, 2 * size, 2 * size, 2 * size, dtype=x.dtype)
    for channel in range(len(hidden)):
        sub = channel % 8
        dx, dy, dz = sub // 4, sub // 2 % 2, sub % 2
        out[channel // 8, dx::2, dy::2, dz::2] = hidden[channel]
    return out


def naive_structure(state: State, latents: torch.Tensor) -> torch.Tensor:
    """Of one object, for the small decoder: a block in the middle, one on each of three levels."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = residual(state, "middle_block.0", convolved(state, "input_layer", latents.double()))
    x = doubled(state, "blocks.1", residual(state, "blocks.0", x))
    x = doubled(state, "blocks.3", residual(state, "blocks.2", x))
    x = residual(state, "blocks.4", x)
    return convolved(state, "out_layer.2", silu(normed(state, "out_layer.0", x)))


def test_it_is_what_the_formulas_say() -> None:
    decoder = small_structure_decoder()
    latents = torch.randn(2, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    found = decoder(latents)
    assert found.shape == (2, 1, 16, 16, 16) and decoder.factor == 4
    for item in range(2):
        assert relative_error(found[item], naive_structure(decoder.state_dict(), latents[item])) < 1e-4


def test_other_shapes_are_refused() -> None:
    with pytest.raises(Bundle3DError, match=r"\(B, 8, R, R, R\), but got \(1, 4, 4, 4, 4\)"):
        small_structure_decoder()(torch.zeros(1, 4, 4, 4, 4))
