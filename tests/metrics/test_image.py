"""Image scores against formulas and an independent implementation."""

from __future__ import annotations

import math

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.metrics.image import normal_angle_error, normal_angles, psnr, silhouette_iou, ssim


def noisy_pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 40, 30, 3, generator=generator)
    return a, (a + 0.1 * torch.randn(a.shape, generator=generator)).clamp(0.0, 1.0)


def test_psnr_of_a_constant_difference() -> None:
    a = torch.full((8, 8, 3), 0.5)
    assert psnr(a, a + 0.1) == pytest.approx(20.0, abs=1e-4)
    assert psnr(a, a) == math.inf


def test_psnr_inside_a_mask_sees_only_the_mask() -> None:
    a, b = torch.zeros(8, 8, 3), torch.zeros(8, 8, 3)
    b[:4], b[4:] = 0.1, 0.9
    mask = torch.zeros(8, 8)
    mask[:4] = 1.0
    assert psnr(a, b, mask) == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_ssim_equals_that_of_scikit_image(seed: int) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noisy_pair(seed)
    expected = [
        metrics.structural_similarity(
            x.double().numpy(),
            y.double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
        )
        for x, y in zip(a, b)
    ]
    assert ssim(a, b) == pytest.approx(sum(expected) / len(expected), abs=1e-7)


def test_ssim_of_flat_images_follows_from_their_means() -> None:
    a, b = torch.full((16, 16, 3), 0.2), torch.full((16, 16, 3), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-6)
    assert ssim(a, a) == pytest.approx(1.0)


def test_ssim_inside_a_mask_ignores_the_rest() -> None:
    a, b = noisy_pair()
    b[:, :, 15:] = a[:, :, 15:]
    mask = torch.zeros(2, 40, 30)
    mask[:, :, 22:] = 1.0
    assert ssim(a, b, mask) == pytest.approx(1.0)
    assert ssim(a, b) < 0.98


def test_iou_of_overlapping_halves() -> None:
    a, b = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
    a[0, :, :2], b[0, :, 1:3] = 1.0, 1.0
    a[1] = 1.0
    assert silhouette_iou(a, b).tolist() == pytest.approx((1 / 3, 0.0, 1.0))


@pytest.mark.parametrize("degrees", [0.0, 0.001, 1.0, 90.0, 179.9, 180.0])
def test_angles_are_exact_from_tiny_to_opposite(degrees: float) -> None:
    angle = math.radians(degrees)
    a = torch.tensor(((1.0, 0.0, 0.0),), dtype=torch.float64)
    b = torch.tensor(((math.cos(angle), math.sin(angle), 0.0),), dtype=torch.float64)
    assert float(normal_angles(a, b)) == pytest.approx(degrees, abs=1e-9)


def test_mean_and_median_angle_are_taken_inside_the_mask() -> None:
    up, right = torch.tensor((0.0, 1.0, 0.0)), torch.tensor((1.0, 0.0, 0.0))
    a, b = up.expand(1, 4, 3).clone(), up.expand(1, 4, 3).clone()
    b[0, 0], b[0, 3] = right, right
    mean, median = normal_angle_error(a, b, torch.tensor(((1.0, 1.0, 1.0, 0.0),)))
    assert mean == pytest.approx(30.0)
    assert median == pytest.approx(0.0)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(Bundle3DError, match="one size"):
        psnr(torch.zeros(4, 4, 3), torch.zeros(4, 5, 3))
    with pytest.raises(Bundle3DError, match="empty"):
        psnr(torch.zeros(4, 4, 3), torch.zeros(4, 4, 3), torch.zeros(4, 4))
    with pytest.raises(Bundle3DError, match="at least 11"):
        ssim(torch.zeros(10, 20, 3), torch.zeros(10, 20, 3))
