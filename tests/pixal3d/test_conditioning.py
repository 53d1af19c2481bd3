"""What voxels are told of pictures, against whole maps sampled voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d import conditioning
from bundle3d.pipelines.pixal3d.conditioning import Pictures, SeenPictures, condition_voxels, resized
from bundle3d.pipelines.pixal3d.models import FINE_SHAPE_SIGHT, SHAPE_SIGHT, STRUCTURE_SIGHT, TEXTURE_SIGHT, Sight
from bundle3d.pipelines.volumes.projection import front_camera
from bundle3d.tests.pixal3d.make_small import SIGHTS, disc, random_voxels, seen, small_models
from PIL import Image
from torch.nn import functional

COORDS = random_voxels([40], 1, 8).coords


def test_voxels_are_told_what_appears_where_they_are() -> None:
    models, pictures = small_models(), disc()
    (one,) = seen(models, pictures)
    condition = one.condition(Sight(64, 32), COORDS[:, 1:], 8)
    images, features = one.encoded(64)
    upsampler = models.pictures.upsampler
    assert upsampler is not None
    fine = upsampler.module(images[0], features.patches[0], 32).everywhere()
    points = COORDS[:, 1:] / 7 - 0.5
    fov = pictures.cameras[0].fov
    scale = 1 / (2 * np.tan(fov / 2))
    depth = 0.5 / np.tan(fov / 2) - points[:, 2]
    places = torch.stack((0.5 + scale * points[:, 0] / depth, 0.5 - scale * points[:, 1] / depth), dim=1)
    grid = (2 * (places + 0.5 / 64) - 1)[None, None].float()
    expected = [
        functional.grid_sample(part[None], grid, padding_mode="border", align_corners=False)[0, :, 0].T
        for part in (features.patches[0], fine)
    ]
    torch.testing.assert_close(condition.projected, torch.cat(expected, dim=1), atol=1e-4, rtol=1e-4)
    assert torch.equal(condition.tokens, features.tokens)


def test_views_are_averaged() -> None:
    models, pictures = small_models(), disc(views=4)
    (four,) = seen(models, pictures)
    found = four.condition(SIGHTS["shape"], COORDS[:, 1:], 8)
    singles = [
        seen(models, Pictures(pictures.images[view : view + 1], pictures.cameras[view : view + 1]))[0].condition(
            SIGHTS["shape"], COORDS[:, 1:], 8
        )
        for view in range(4)
    ]
    for part in ("tokens", "projected"):
        mean = torch.stack([getattr(single, part) for single in singles]).mean(0)
        torch.testing.assert_close(getattr(found, part), mean, atol=1e-5, rtol=1e-5)


def test_objects_are_told_of_their_own_pictures() -> None:
    models, coords = small_models(), random_voxels([12, 9], 1, 8).coords
    both = condition_voxels(seen(models, disc(), disc(seed=10)), SIGHTS["shape"], coords, 8)
    for item, rows in enumerate((slice(0, 12), slice(12, 21))):
        (one,) = seen(models, disc(seed=9 + item))
        own = one.condition(SIGHTS["shape"], coords[rows, 1:], 8)
        torch.testing.assert_close(both.projected[rows], own.projected)
        torch.testing.assert_close(both.tokens[item : item + 1], own.tokens)


def test_pictures_are_encoded_once_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = conditioning.encode_pictures

    def spy(encoder: Resident, pictures: torch.Tensor) -> object:
        sizes.append(pictures.shape[-1])
        return original(encoder, pictures)

    monkeypatch.setattr(conditioning, "encode_pictures", spy)
    (one,) = seen(small_models(), disc())
    for sight in SIGHTS.values():
        one.condition(sight, COORDS[:, 1:], 8)
    assert sizes == [32, 64]


def test_stages_see_what_is_published() -> None:
    assert [(s.size, s.upsampled) for s in (STRUCTURE_SIGHT, SHAPE_SIGHT, FINE_SHAPE_SIGHT, TEXTURE_SIGHT)] == [
        (512, None), (512, 512), (1024, 512), (1024, 1024)
    ]  # fmt: skip


def test_resizing_is_that_of_pillow() -> None:
    images = disc(views=2).images
    found = resized(images, 24)
    assert found.shape == (2, 3, 24, 24)
    picture = Image.fromarray((images[1] * 255).round().to(torch.uint8).numpy())
    truth = np.asarray(picture.resize((24, 24), Image.Resampling.LANCZOS)).astype(np.float32) / 255
    assert np.array_equal(found[1].permute(1, 2, 0).numpy(), truth)


def test_views_count_and_may_cancel() -> None:
    reports = []

    def cancel(done: int, total: int, preview: object = None) -> None:
        reports.append((done, total))
        if done == 3:
            raise InterruptedError

    models, coords = small_models(), random_voxels([12, 9], 1, 8).coords
    with pytest.raises(InterruptedError):
        condition_voxels(seen(models, disc(), disc(views=4)), SIGHTS["structure"], coords, 8, cancel)
    assert reports == [(1, 5), (2, 5), (3, 5)]


def test_what_does_not_fit_is_refused() -> None:
    models = small_models()
    blind = type(models.pictures)(models.pictures.encoder, None)
    for call, said in (
        (lambda: Pictures(torch.zeros(1, 8, 9, 3), (front_camera(),)), "square pictures"),
        (lambda: Pictures(torch.zeros(2, 8, 8, 3), (front_camera(),)), "got 1 for 2"),
        (lambda: Pictures(torch.zeros(1, 8, 8, 3), (front_camera(),), 0.0), "positive scale"),
        (lambda: SeenPictures(blind, disc()).condition(SIGHTS["shape"], COORDS[:, 1:], 8), "NAF"),
        (lambda: condition_voxels(seen(models, disc(), disc()), SIGHTS["shape"], COORDS, 8), "each of 2 objects"),
        (lambda: Sight(64, 8), "at least a quarter"),
    ):
        with pytest.raises(Bundle3DError, match=said) as refusal:
            call()
        assert "\n" not in str(refusal.value)
