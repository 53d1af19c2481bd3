"""The sparse decoders against dense convolutions and explicit loops over voxels, in float64."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d import voxel_decoder
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import (
    SHAPE_DECODER,
    TEXTURE_DECODER,
    random_voxels,
    relative_error,
    small_decoder,
)
from torch.nn import functional

State = dict[str, torch.Tensor]
Place = tuple[int, int, int]


def layer_norm(x: torch.Tensor, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()


def convolved(state: State, name: str, places: list[Place], x: torch.Tensor, resolution: int) -> torch.Tensor:
    """The dense convolution of the features in an empty lattice, read where the voxels are."""
    weight = state[f"{name}.weight"].permute(0, 4, 1, 2, 3)
    dense = torch.zeros(1, x.shape[1], *[resolution] * 3, dtype=x.dtype)
    for place, row in zip(places, x):
        dense[0, :, place[0], place[1], place[2]] = row
    out = functional.conv3d(dense, weight, state[f"{name}.bias"], padding=1)[0]
    return torch.stack([out[:, place[0], place[1], place[2]] for place in places])


def naive_decoder(
    state: State, latents: SparseVoxels, told: list[torch.Tensor] | None = None
) -> tuple[list[Place], torch.Tensor]:
    """Places and outputs of the finest voxels of one object, for the small decoders of three levels."""
    state = {name: tensor.double() for name, tensor in state.items()}

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def affine(name: str, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]

    places: list[Place] = [tuple(row) for row in latents.coords[:, 1:].tolist()]
    resolution = latents.resolution
    x = linear("from_latent", latents.features.double())
    for level in range(2):
        block = f"blocks.{level}.0"
        hidden = affine(f"{block}.norm", convolved(state, f"{block}.conv", places, x, resolution))
        hidden = linear(f"{block}.mlp.0", hidden)
        x = x + linear(f"{block}.mlp.2", hidden / (1 + torch.exp(-hidden)))
        split = f"blocks.{level}.1"
        exists = told[level] if told is not None else linear(f"{split}.to_subdiv", x) > 0
        hidden = functional.silu(affine(f"{split}.norm1", x))
        hidden = convolved(state, f"{split}.conv1", places, hidden, resolution)
        finer, rows, skips = [], [], []
        for parent, place in enumerate(places):
            for child in range(8):
                if exists[parent, child]:
                    offset = (child % 2, child // 2 % 2, child // 4)
                    finer.append(tuple(2 * p + o for p, o in zip(place, offset)))
                    channels, skipped = hidden.shape[1] // 8, x.shape[1] // 8
                    rows.append(hidden[parent, child * channels : (child + 1) * channels])
                    skip = x[parent, child * skipped : (child + 1) * skipped]
                    skips.append(torch.stack([skip[c * skipped // channels] for c in range(channels)]))
        places, resolution = finer, 2 * resolution
        hidden = functional.silu(layer_norm(torch.stack(rows), 1e-6))
        x = convolved(state, f"{split}.conv2", places, hidden, resolution) + torch.stack(skips)
    return places, linear("output_layer", layer_norm(x, 1e-5))


def test_the_shape_is_what_the_formulas_say() -> None:
    decoder, latents = small_decoder(), random_voxels([14], 6, 4)
    found = decoder(latents)
    places, truth = naive_decoder(decoder.state_dict(), latents)
    assert found.voxels.resolution == 16 and decoder.config.factor == 4
    assert [tuple(row) for row in found.voxels.coords[:, 1:].tolist()] == places
    assert relative_error(found.voxels.features, truth) < 1e-4
    assert 14 < len(places) < 14 * 64


def test_the_texture_takes_the_voxels_of_the_shape() -> None:
    latents = random_voxels([14], 6, 4)
    shape = small_decoder()(latents)
    decoder, own = small_decoder(TEXTURE_DECODER), random_voxels([14], 6, 4).with_features(torch.randn(14, 6))
    found = decoder(own, shape.children)
    assert torch.equal(found.voxels.coords, shape.voxels.coords)
    places, truth = naive_decoder(decoder.state_dict(), own, list(shape.children))
    assert relative_error(found.voxels.features, truth) < 1e-4
    assert found.voxels.features.shape == (len(places), 6)


def test_children_computed_one_by_one_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, latents = small_decoder(), random_voxels([14, 5], 6, 4)
    truth = decoder(latents).voxels
    monkeypatch.setattr(voxel_decoder, "SPLIT_BYTES", 0)
    found = decoder(latents).voxels
    assert torch.equal(found.coords, truth.coords)
    torch.testing.assert_close(found.features, truth.features, atol=1e-5, rtol=1e-5)


def test_upsampling_finds_the_voxels_that_decoding_finds() -> None:
    decoder, latents = small_decoder(), random_voxels([14, 5], 6, 4)
    assert torch.equal(decoder.upsample(latents), decoder(latents).voxels.coords)


def test_objects_of_a_batch_do_not_mix() -> None:
    decoder, latents = small_decoder(), random_voxels([14, 5], 6, 4)
    both = decoder(latents).voxels
    start = 0
    for item, rows in enumerate((slice(0, 14), slice(14, 19))):
        coords = latents.coords[rows].clone()
        coords[:, 0] = 0
        single = decoder(SparseVoxels(coords, latents.features[rows], 4)).voxels
        own = both.coords[:, 0] == item
        assert int(own.nonzero()[0]) == start
        assert torch.equal(both.coords[own][:, 1:], single.coords[:, 1:])
        torch.testing.assert_close(both.features[own], single.features, atol=1e-5, rtol=1e-5)
        start += len(single.coords)


def test_every_block_reports_and_may_cancel() -> None:
    reports = []

    def cancel(done: int, total: int, preview: object = None) -> None:
        reports.append((done, total))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        small_decoder()(random_voxels([14], 6, 4), progress=cancel)
    assert reports == [(1, 4), (2, 4), (3, 4)]


def test_what_cannot_be_decoded_is_refused() -> None:
    latents = random_voxels([14], 6, 4)
    shape = small_decoder()(latents)
    texture = small_decoder(TEXTURE_DECODER)
    nothing = small_decoder()
    for name, parameter in nothing.named_parameters():
        if name == "blocks.0.1.to_subdiv.bias":
            parameter.data -= 1000
    of_the_first = torch.arange(14)[:, None].expand(14, 8) < 7
    for call, said in (
        (lambda: small_decoder()(random_voxels([14], 5, 4)), "6 latent channels"),
        (lambda: texture(latents), "decode the shape first"),
        (lambda: texture(latents, shape.children[:1]), "in 2 levels, but got 1"),
        (lambda: texture(random_voxels([9], 6, 4), shape.children), "children of 9 voxels at level 0"),
        (lambda: nothing(latents), "Expected a surface"),
        (lambda: texture(random_voxels([7, 7], 6, 4), [of_the_first, *shape.children[1:]]), "of every shape"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_configurations_name_what_does_not_split() -> None:
    with pytest.raises(ValueError, match="do not split"):
        type(SHAPE_DECODER)(channels=(32, 6), blocks=(1, 0))
