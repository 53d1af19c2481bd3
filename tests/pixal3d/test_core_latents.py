"""Latents and structures for ComfyUI's own nodes: dicts by hand, the way there and back, and what is none of theirs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.core_latents import core_latent, core_structure, sparse_latents, structure_voxels
from bundle3d.pipelines.pixal3d.normalisation import SHAPE_NORMALISATION, TEXTURE_NORMALISATION, Normalisation
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import random_voxels

HALVED = Normalisation(mean=(1.0, -3.0), std=(2.0, 4.0))
# Of two objects, the second with a single voxel: what the flow drew, and what it is when denormalised.
DRAWN = torch.tensor([[[0.5, -1.0, 2.0], [0.25, 0.0, -1.0]], [[3.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])[..., None]
VOXELS = torch.tensor([[0, 7, 0, 1], [0, 2, 2, 2], [0, 2, 2, 3], [1, 4, 5, 6]], dtype=torch.int32)
LATENTS = torch.tensor([[2.0, -2.0], [-1.0, -3.0], [5.0, -7.0], [7.0, 1.0]])


def hand_written(**changes: Any) -> dict[str, Any]:
    return {
        "samples": DRAWN,
        "coords": VOXELS,
        "coord_counts": torch.tensor([3, 1]),
        "coord_resolution": 8,
        "model_frame": "y_up",
        "type": "trellis2",
    } | changes


def objects() -> list[SparseVoxels]:
    alone = VOXELS.clone()
    alone[:, 0] = 0
    return [SparseVoxels(alone[:3], LATENTS[:3], 8), SparseVoxels(alone[3:], LATENTS[3:], 8)]


def same(first: SparseVoxels, second: SparseVoxels) -> bool:
    features = torch.equal(first.features, second.features)
    return features and torch.equal(first.coords, second.coords) and first.resolution == second.resolution


def test_a_latent_is_the_dict_that_comfyui_makes() -> None:
    found, expected = core_latent(objects(), HALVED), hand_written()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        own = found[name]
        if isinstance(value, torch.Tensor):
            assert own.dtype == value.dtype and torch.equal(own, value), name
        else:
            assert type(own) is type(value) and own == value, name


def test_a_latent_by_hand_is_read() -> None:
    before = VOXELS.clone()
    for latent in (
        hand_written(),
        hand_written(samples=DRAWN.half(), coords=VOXELS.long()),
        hand_written(coords=VOXELS[[3, 0, 1, 2]]),  # objects in any order
        {name: value for name, value in hand_written().items() if name not in ("model_frame", "type")},
    ):
        assert all(map(same, sparse_latents(latent, HALVED), objects()))
    assert torch.equal(VOXELS, before)


def test_what_lies_behind_the_voxels_of_smaller_objects_does_not_count() -> None:
    noisy = DRAWN.clone()
    noisy[1, :, 1:] = 99.0  # as a sampler leaves it
    assert all(map(same, sparse_latents(hand_written(samples=noisy), HALVED), objects()))


@pytest.mark.parametrize("normalisation", [SHAPE_NORMALISATION, TEXTURE_NORMALISATION])
def test_latents_come_back_to_the_last_bit(normalisation: Normalisation) -> None:
    sent = []
    for count, size in ((2000, 1.0), (1500, 0.01), (1, 30.0)):
        drawn = random_voxels([count], 32, 64, seed=count)
        sent.append(drawn.with_features(normalisation.latents(size * drawn.features)))
    found = sparse_latents(core_latent(sent, normalisation), normalisation)
    assert len(found) == 3 and all(map(same, found, sent))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_frame": "z_up"}, "these are z_up, as those of TRELLIS.2"),
        ({"samples": DRAWN[:, :1]}, r"samples \(B, 2, N, 1\)"),
        ({"samples": DRAWN[:1]}, r"but got \(1, 2, 3, 1\)"),
        ({"samples": DRAWN[:, :, :2]}, r"objects with \[3, 1\] voxels"),
        ({"samples": DRAWN[..., 0]}, r"but got \(2, 2, 3\)"),
        ({"coord_counts": torch.tensor([2, 2])}, "not as many of each"),
        ({"coord_counts": torch.tensor([4, 0])}, r"objects with \[4, 0\] voxels"),
        ({"coords": VOXELS[:3]}, r"coords \(3, 4\)"),
        ({"coords": VOXELS - torch.tensor([1, 0, 0, 0], dtype=torch.int32)}, "not as many of each"),
        ({"coord_resolution": 7}, r"voxels in 0\.\.6 along each axis, but got 0\.\.7"),
    ],
)
def test_other_latents_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Bundle3DError, match=said) as refusal:
        sparse_latents(hand_written(**changes), HALVED)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("part", ["samples", "coords", "coord_counts", "coord_resolution"])
def test_a_latent_of_an_image_is_refused(part: str) -> None:
    latent = hand_written()
    del latent[part]
    with pytest.raises(Bundle3DError, match=f"this LATENT has no {part};"):
        sparse_latents(latent, HALVED)


def test_objects_of_different_resolutions_have_no_latent() -> None:
    coarse, fine = objects()[0], objects()[1]
    with pytest.raises(Bundle3DError, match=r"sides of \[8, 16\]"):
        core_latent([coarse, SparseVoxels(fine.coords, fine.features, 16)], HALVED)


def test_a_structure_lies_along_x_y_and_z() -> None:
    first, second = (one.coords for one in objects())
    data = core_structure([first, second], 8)
    assert data.shape == (2, 8, 8, 8) and data.dtype == torch.float32 and int(data.sum()) == 4
    assert data[0, 7, 0, 1] == data[0, 2, 2, 3] == data[1, 4, 5, 6] == 1.0
    found = structure_voxels(data, 8)
    assert torch.equal(found[0], first[[1, 2, 0]]) and torch.equal(found[1], second)
    assert found[0].dtype == torch.int32


def test_a_finer_structure_is_reduced_as_published() -> None:
    data = torch.zeros(1, 8, 8, 8)
    data[0, 7, 0, 1] = data[0, 6, 1, 0] = data[0, 0, 3, 3] = 1.0
    assert structure_voxels(data, 4)[0].tolist() == [[0, 0, 1, 1], [0, 3, 0, 0]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (torch.ones(1, 6, 6, 6), r"4\^3 voxels, or a multiple, but got \(1, 6, 6, 6\)"),
        (torch.ones(1, 8, 8, 4), "but got"),
        (torch.ones(9, 4), "but got"),
        (torch.ones(0, 4, 4, 4), "but got"),
        (torch.zeros(2, 4, 4, 4), "number 1 of 2 is empty"),
    ],
)
def test_other_structures_are_refused(data: torch.Tensor, said: str) -> None:
    with pytest.raises(Bundle3DError, match=said):
        structure_voxels(data, 4)
