"""How alike images, silhouettes and normal maps are. Images are sRGB float in [0, 1] with channels last."""

from __future__ import annotations

import torch
from torch.nn.functional import conv2d

from ..errors import Bundle3DError

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_CONSTANTS = (0.01**2, 0.03**2)


def psnr(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of ``a`` and ``b`` (..., H, W, C); inside ``mask`` (..., H, W) if given.

    Equal images give infinity. Raises Bundle3DError for different shapes and for an empty mask.
    """
    _check(a, b)
    error = ((a.double() - b.double()) ** 2).mean(-1)
    mean = float(error.mean() if mask is None else error[_inside(mask)].mean())
    return float("inf") if mean == 0.0 else float(-10.0 * torch.log10(torch.tensor(mean, dtype=torch.float64)))


def ssim(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    """Structural similarity of ``a`` and ``b`` (..., H, W, C), both at least 11 pixels wide; mean over all windows that
    lie inside the image, or over those whose centre is inside ``mask`` (..., H, W).

    Wang et al. 2004: Gaussian window of 11 pixels with sigma 1.5, constants 0.01^2 and 0.03^2.
    """
    _check(a, b)
    height, width, channels = a.shape[-3:]
    if min(height, width) < SSIM_WINDOW:
        raise Bundle3DError(f"Expected images of at least {SSIM_WINDOW} pixels, but got {width}x{height}; enlarge.")
    first, second = (_planes(image) for image in (a, b))
    mean_a, mean_b = _blur(first), _blur(second)
    variance_a = _blur(first * first) - mean_a**2
    variance_b = _blur(second * second) - mean_b**2
    covariance = _blur(first * second) - mean_a * mean_b
    c1, c2 = SSIM_CONSTANTS
    score = (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
    score = score / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
    if mask is None:
        return float(score.mean())
    border = SSIM_WINDOW // 2
    inner = _inside(mask).reshape(-1, 1, height, width)[..., border : height - border, border : width - border]
    return float(score.reshape(-1, channels, *score.shape[-2:])[inner.expand(-1, channels, -1, -1)].mean())


def silhouette_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union (...) of the masks ``a`` and ``b`` (..., H, W), cut at 0.5; 1 where both are empty."""
    left, right = a > 0.5, b > 0.5
    both, either = (left & right).sum(dim=(-2, -1)), (left | right).sum(dim=(-2, -1))
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def normal_angles(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angles (...) in degrees between unit vectors ``a`` and ``b`` (..., 3)."""
    _check(a, b)
    # atan2 stays exact for the small angles at which acos loses all digits.
    cross = torch.linalg.cross(a.double(), b.double()).norm(dim=-1)
    return torch.rad2deg(torch.atan2(cross, (a.double() * b.double()).sum(-1)))


def normal_angle_error(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor) -> tuple[float, float]:
    """Mean and median angle in degrees between the normals ``a`` and ``b`` (..., 3) inside ``mask`` (...)."""
    angles = normal_angles(a, b)[_inside(mask)]
    return float(angles.mean()), float(angles.median())


def _check(a: torch.Tensor, b: torch.Tensor) -> None:
    if a.shape != b.shape:
        raise Bundle3DError(f"Expected two images of one size, but got {tuple(a.shape)} and {tuple(b.shape)}.")


def _inside(mask: torch.Tensor) -> torch.Tensor:
    inside = mask > 0.5
    if not bool(inside.any()):
        raise Bundle3DError("Expected a mask with something in it, but it is empty; choose another mask.")
    return inside


def _planes(image: torch.Tensor) -> torch.Tensor:
    return image.double().movedim(-1, -3).reshape(-1, 1, *image.shape[-3:-1])


def _blur(planes: torch.Tensor) -> torch.Tensor:
    steps = torch.arange(SSIM_WINDOW, dtype=planes.dtype, device=planes.device) - SSIM_WINDOW // 2
    window = torch.exp(-(steps**2) / (2.0 * SSIM_SIGMA**2))
    window = window / window.sum()
    return conv2d(conv2d(planes, window.reshape(1, 1, -1, 1)), window.reshape(1, 1, 1, -1))
