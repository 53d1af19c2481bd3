"""What voxels are told of a picture, one by one."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.diffusion.holder import Resident
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.pixal3d.conditioning import Pictures
from bundle3d.pipelines.pixal3d.direct3d_s2.conditioning import condition_voxels, see
from bundle3d.pipelines.pixal3d.direct3d_s2.prepare import pictured_on_white
from bundle3d.pipelines.pixal3d.feature_upsampler import FeatureUpsampler
from bundle3d.pipelines.volumes.projection import sampling_coordinates, voxel_points
from bundle3d.tests.pixal3d.direct3d_s2.make_small import random_places, small_encoder
from bundle3d.tests.pixal3d.make_small import UPSAMPLER, randomised
from torch.nn import functional

PLACES = random_places(40, 8)


def picture() -> Pictures:
    noise = torch.rand(518, 518, 3, generator=torch.Generator().manual_seed(2))
    return pictured_on_white(noise, torch.ones(518, 518), 0.4, 0.8).pictures


def sampled(map_: torch.Tensor, pictures: Pictures, size: int) -> torch.Tensor:
    """(N, C) bilinear samples of a map (C, h, w) where the voxels appear, half a pixel further."""
    points = voxel_points(PLACES, 8, pictures.mesh_scale)
    at = sampling_coordinates(pictures.cameras[0].project(points), size)
    found = functional.grid_sample(
        map_[None], at[None, :, None], mode="bilinear", padding_mode="border", align_corners=False
    )
    return found[0, :, :, 0].T


def test_voxels_are_told_what_appears_where_they_are() -> None:
    pictures, encoder = picture(), small_encoder()
    seen = see(encoder, pictures)
    size = encoder.module.config.image_size
    assert seen.image.shape == (3, size, size)
    condition = condition_voxels(seen, PLACES, 8)
    assert torch.equal(condition.tokens, seen.features.tokens) and condition.tokens.shape[:2] == (1, 5)
    truth = sampled(seen.features.patches[0], pictures, size)
    torch.testing.assert_close(condition.projected, truth, atol=1e-5, rtol=1e-5)


def test_finer_features_are_added_and_guided_by_the_normalised_picture() -> None:
    pictures = picture()
    seen = see(small_encoder(), pictures)
    upsampler = Resident(randomised(FeatureUpsampler(UPSAMPLER), 8))
    size = seen.image.shape[-1]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (seen.image - mean[:, None, None]) / std[:, None, None]
    fine = upsampler.module(normalised, seen.features.patches[0], size).everywhere()
    truth = sampled(seen.features.patches[0], pictures, size) + sampled(fine, pictures, size)
    found = condition_voxels(seen, PLACES, 8, upsampler).projected
    torch.testing.assert_close(found, truth, atol=1e-4, rtol=1e-4)


def test_several_views_are_refused() -> None:
    one = picture()
    two = Pictures(one.images.expand(2, -1, -1, -1), one.cameras * 2)
    with pytest.raises(Bundle3DError, match="Expected one picture of an object, but got 2"):
        see(small_encoder(), two)
