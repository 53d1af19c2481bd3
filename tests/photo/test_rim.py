"""Colours at the rim against an object whose colours are known everywhere."""

from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.photo.rim import clean_rim

SIZE = 200
GREEN, BLACK = (0.1, 0.6, 0.1), (0.0, 0.0, 0.0)


def coverage(softness: float) -> torch.Tensor:
    """(S, S) alpha of a disc whose rim is twice ``softness`` pixels wide."""
    axis = torch.arange(SIZE) + 0.5 - SIZE / 2
    distance = torch.hypot(axis[:, None], axis[None])
    return ((60 - distance) / (2 * softness) + 0.5).clamp(0, 1)


def surface() -> torch.Tensor:
    """(S, S, 3): colours that change slowly."""
    axis = torch.arange(SIZE, dtype=torch.float32)
    red, green = 0.7 + 0.2 * torch.sin(axis / 23), 0.2 + 0.1 * torch.cos(axis / 31)
    return torch.stack(
        [red[None].expand(SIZE, SIZE), green[:, None].expand(SIZE, SIZE), torch.full((SIZE, SIZE), 0.15)], dim=-1
    )


def error(rgb: torch.Tensor, alpha: torch.Tensor) -> float:
    """Mean difference to the true object on white, over the rim."""
    rim = (alpha > 0.02) & (alpha < 0.98)
    return float((alpha[..., None] * (rgb - surface())).abs()[rim].mean())


@pytest.mark.parametrize("softness", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("background", [GREEN, BLACK])
def test_two_thirds_of_a_fringe_go(softness: float, background: tuple[float, float, float]) -> None:
    alpha = coverage(softness)
    share = alpha[..., None]
    mixed = share * surface() + (1 - share) * torch.tensor(background)
    cleaned = clean_rim(mixed, alpha)
    assert error(cleaned, alpha) < 0.4 * error(mixed, alpha)
    assert torch.equal(cleaned[alpha >= 0.95], mixed[alpha >= 0.95])


@pytest.mark.parametrize("softness", [0.5, 2.0])
def test_colours_without_background_hardly_change(softness: float) -> None:
    alpha = coverage(softness)
    assert error(clean_rim(surface(), alpha), alpha) < 0.002


def test_what_is_far_from_opaque_pixels_stays() -> None:
    glass = torch.full((SIZE, SIZE), 0.5)
    assert torch.equal(clean_rim(surface(), glass), surface())
    glass[:, :20] = 1.0
    assert torch.equal(clean_rim(surface(), glass)[:, 30:], surface()[:, 30:])
