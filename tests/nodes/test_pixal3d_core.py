"""Stages of Pixal3D that go through the LATENT and the VOXEL of ComfyUI's own nodes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bundle3d.nodes.pixal3d_sockets import ObjectBatch, ShapeLatents, StructureVoxels, TextureLatents
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.models import Pixal3DModels
from bundle3d.pipelines.pixal3d.normalisation import Normalisation
from bundle3d.pipelines.volumes.sparse_voxels import SparseVoxels
from bundle3d.tests.pixal3d.make_small import random_voxels, small_models

Run = Callable[..., Any]
VOXELS = torch.zeros(5, 4, dtype=torch.int32)
CORE_KEYS = {"samples", "coords", "coord_counts", "coord_resolution", "model_frame", "type"}


@pytest.fixture(scope="module")
def models() -> Pixal3DModels:
    return small_models()


def noise(seed: int) -> torch.Tensor:
    return torch.Generator().manual_seed(seed).get_state()


def latents(normalisation: Normalisation, side: int = 16) -> list[SparseVoxels]:
    """Of two objects, as a flow draws them."""
    drawn = [random_voxels([count], 6, side, seed=count) for count in (40, 70)]
    return [one.with_features(normalisation.latents(one.features)) for one in drawn]


def shapes(models: Pixal3DModels, side: int = 16) -> ObjectBatch[ShapeLatents]:
    made = enumerate(latents(models.shape_normalisation, side))
    return ObjectBatch(tuple(ShapeLatents(one, 4 * side, noise(index)) for index, one in made))


def same(first: Any, second: Any) -> bool:
    coords, features = (torch.equal(getattr(first, name), getattr(second, name)) for name in ("coords", "features"))
    return coords and features and first.resolution == second.resolution


def test_a_shape_comes_back_as_it_was(run: Run, models: Pixal3DModels) -> None:
    given = shapes(models)
    latent = run("Bundle3D_Pixal3DToLatent", models=models, latents=given)[0]
    assert latent.keys() == {*CORE_KEYS, "bundle3d_noise"} and latent["samples"].shape == (2, 6, 70, 1)
    assert latent["coord_resolution"] == 16 and latent["coord_counts"].tolist() == [40, 70]
    sampled = latent.copy()  # as KSampler hands it on
    found = run("Bundle3D_Pixal3DLatentToShape", models=models, latent=sampled)[0]
    for one, own in zip(found, given, strict=True):
        assert same(one.voxels, own.voxels) and one.resolution == own.resolution == 64
        assert torch.equal(one.noise, own.noise)


def test_a_shape_of_comfyui_starts_noise_of_its_own(run: Run, models: Pixal3DModels) -> None:
    latent = run("Bundle3D_Pixal3DToLatent", models=models, latents=shapes(models))[0]
    call = {"models": models, "latent": latent}
    anew = run("Bundle3D_Pixal3DLatentToShape", seed=5, **call)[0]
    assert [torch.equal(one.noise, noise(seed)) for one, seed in zip(anew, (5, 6))] == [True, True]
    call["latent"] = {name: value for name, value in latent.items() if name in CORE_KEYS}
    plain = run("Bundle3D_Pixal3DLatentToShape", **call)[0]
    assert [torch.equal(one.noise, noise(seed)) for one, seed in zip(plain, (0, 1))] == [True, True]


def test_a_texture_comes_back_as_it_was(run: Run, models: Pixal3DModels) -> None:
    given = ObjectBatch(tuple(TextureLatents(one) for one in latents(models.texture_normalisation)))
    latent = run("Bundle3D_Pixal3DToLatent", models=models, latents=given)[0]
    assert latent.keys() == CORE_KEYS
    drawn = models.texture_normalisation.drawn(given.items[1].voxels.features)
    torch.testing.assert_close(latent["samples"][1, :, :, 0].T, drawn)
    found = run("Bundle3D_Pixal3DLatentToTexture", models=models, latent=latent)[0]
    assert all(same(one.voxels, own.voxels) for one, own in zip(found, given, strict=True))


def test_a_structure_comes_back_with_noise_of_its_own(run: Run, models: Pixal3DModels) -> None:
    coords = [random_voxels([count], 6, 8, seed=count).coords for count in (9, 20)]
    given = ObjectBatch(tuple(StructureVoxels(one, noise(0)) for one in coords))
    voxel = run("Bundle3D_Pixal3DToVoxel", models=models, structure=given)[0]
    assert voxel.data.shape == (2, 8, 8, 8) and voxel.data.flatten(1).sum(1).tolist() == [9, 20]
    assert all(voxel.data[(0, *place)] == 1.0 for place in coords[0][:, 1:].tolist())
    found = run("Bundle3D_Pixal3DVoxelToStructure", models=models, voxel=voxel, seed=3)[0]
    for index, (one, own) in enumerate(zip(found, coords, strict=True)):
        assert torch.equal(one.coords, own.unique(dim=0)) and torch.equal(one.noise, noise(3 + index))


def test_what_is_none_of_pixal3ds_is_refused(run: Run, models: Pixal3DModels) -> None:
    latent = run("Bundle3D_Pixal3DToLatent", models=models, latents=shapes(models))[0]
    mixed = ObjectBatch((shapes(models).items[0], shapes(models, 32).items[0]))
    for node, given, words in (
        ("LatentToShape", {"latent": {"samples": torch.zeros(1, 16, 8, 8)}}, "this LATENT has no coords"),
        ("LatentToTexture", {"latent": latent | {"model_frame": "z_up"}}, "as those of TRELLIS.2"),
        ("LatentToShape", {"latent": latent | {"bundle3d_noise": noise(0)[None]}}, "noise of 2 objects"),
        ("LatentToShape", {"latent": latent | {"samples": latent["samples"][:, :5]}}, "latents of the same models"),
        ("ToLatent", {"latents": mixed}, r"sides of \[16, 32\]"),
        ("VoxelToStructure", {"voxel": SimpleNamespace(data=VOXELS)}, r"structure of 8\^3 voxels"),  # of colours
        ("VoxelToStructure", {"voxel": SimpleNamespace()}, "a VOXEL of ComfyUI, but got SimpleNamespace"),
    ):
        with pytest.raises(Bundle3DError, match=words) as refusal:
            run(f"Bundle3D_Pixal3D{node}", models=models, **given)
        assert "\n" not in str(refusal.value)
