"""The decoder of signed distances against itself written down voxel by voxel."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.direct3d_s2 import sdf_decoder
from bundle3d.pipelines.pixal3d.direct3d_s2.config import SdfDecoderConfig
from bundle3d.pipelines.pixal3d.direct3d_s2.sdf_decoder import CHILDREN, child_places
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.direct3d_s2.make_small import (
    SDF_DECODER,
    random_features,
    random_places,
    small_sdf_decoder,
)
from bundle3d.tests.pixal3d.direct3d_s2.naive_flows import Place, State, silu
from bundle3d.tests.pixal3d.make_small import relative_error
from bundle3d.tests.pixal3d.naive_flow import attention, gelu_tanh, layer_norm


def latents_at(places: torch.Tensor, resolution: int = SDF_DECODER.resolution) -> SparseVoxels:
    coords = torch.nn.functional.pad(places, (1, 0))
    return SparseVoxels(coords, random_features(len(places), SDF_DECODER.channels), resolution)


def convolved(state: State, name: str, x: dict[Place, torch.Tensor]) -> dict[Place, torch.Tensor]:
    """Of voxels by their places; of a kernel's 27 rows, x of the neighbour runs fastest."""
    kernel, bias = state[f"{name}.0.conv.kernel"], state[f"{name}.0.conv.bias"]
    out = {}
    for px, py, pz in x:
        total = bias.clone()
        for number in range(27):
            near = px + number % 3 - 1, py + number // 3 % 3 - 1, pz + number // 9 - 1
            if near in x:
                total = total + x[near] @ kernel[number]
        out[px, py, pz] = silu(total)
    return out


def naive_distances(state: State, config: SdfDecoderConfig, latents: SparseVoxels) -> dict[Place, torch.Tensor]:
    """The signed distance at each of the finest voxels."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    places = [tuple(place[1:]) for place in latents.coords.tolist()]
    each = config.width // 6
    waves = []
    for place in places:
        angles = [[axis / 10000.0 ** (i / each) for i in range(each)] for axis in place]
        row = [wave(a) for axis in angles for wave in (math.sin, math.cos) for a in axis]
        waves.append(row + [0.0] * (config.width - len(row)))
    x = linear("input_layer", latents.features.double()) + torch.tensor(waves, dtype=torch.float64)
    head = config.width // config.heads
    for number in range(config.blocks):
        block, shift = f"blocks.{number}", config.window // 2 * (number % 2)
        q, k, v = linear(f"{block}.attn.to_qkv", layer_norm(x, 1e-6)).chunk(3, dim=1)
        seen = torch.zeros_like(q)
        windows = [tuple((axis + shift) // config.window for axis in place) for place in places]
        for row, window in enumerate(windows):
            near = [other for other, there in enumerate(windows) if there == window]
            for h in range(config.heads):
                part = slice(h * head, (h + 1) * head)
                seen[row, part] = attention(q[row : row + 1, part], k[near][:, part], v[near][:, part])[0]
        x = x + linear(f"{block}.attn.to_out", seen)
        x = x + linear(f"{block}.mlp.mlp.2", gelu_tanh(linear(f"{block}.mlp.mlp.0", layer_norm(x, 1e-6))))
    voxels = dict(zip(places, x))
    for level in range(3):
        voxels = convolved(state, f"upsample.{level}.act_layers", voxels)
        voxels = {
            (2 * px + dx, 2 * py + dy, 2 * pz + dz): value
            for (px, py, pz), value in voxels.items()
            for dx in range(2)
            for dy in range(2)
            for dz in range(2)
        }
        voxels = convolved(state, f"upsample.{level}.out_layers", voxels)
    return {place: torch.tanh(linear("out_layer", value))[0] for place, value in voxels.items()}


def test_it_is_what_the_formulas_say() -> None:
    config = replace(SDF_DECODER, window=2)
    decoder = small_sdf_decoder(config)
    latents = latents_at(random_places(9, 3))
    found = decoder(latents)
    assert found.shape == (9, CHILDREN)
    truth = naive_distances(decoder.state_dict(), config, latents)
    children = child_places(latents.coords[:, 1:])
    expected = torch.stack([truth[tuple(place)] for place in children.flatten(0, 1).tolist()]).reshape(9, CHILDREN)
    assert relative_error(found, expected) < 1e-4


def test_pieces_of_a_lattice_are_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = small_sdf_decoder()
    latents = latents_at(random_places(500, 10))  # so dense that everything in reach is reached
    whole = decoder(latents)
    monkeypatch.setattr(sdf_decoder, "WHOLE", 10)
    monkeypatch.setattr(sdf_decoder, "PIECE", 5)
    told: list[tuple[int, int]] = []
    found = decoder(latents, progress=lambda done, total, preview=None: told.append((done, total)))
    torch.testing.assert_close(found, whole, atol=1e-6, rtol=1e-5)
    assert told[-1] == (500, 500) and len(told) == 8
    monkeypatch.setattr(sdf_decoder, "REACH", 2)
    assert float((decoder(latents) - whole).abs().max()) > 1e-5


def test_children_lie_in_their_voxel() -> None:
    children = child_places(torch.tensor([[1, 0, 2]], dtype=torch.int32))
    assert children[0, 0].tolist() == [8, 0, 16] and children[0, -1].tolist() == [15, 7, 23]
    assert children[0, (3 * 8 + 1) * 8 + 6].tolist() == [11, 1, 22]


def test_other_latents_are_refused() -> None:
    latents = latents_at(random_places(4, 3))
    with pytest.raises(Bundle3DError, match=r"6 latent channels, but got \(4, 5\)"):
        small_sdf_decoder()(latents.with_features(latents.features[:, 1:]))
