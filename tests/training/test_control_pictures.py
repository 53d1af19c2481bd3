"""Edges against shapes whose edges are known; the pictures of each mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle3d.pipelines.diffusion.canny import canny
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.training.control_pictures import coarseness_of, control_picture
from bundle3d.pipelines.training.dataset import CaptionedBundle, save_image


def disc(size: int = 64, radius: float = 20.0) -> tuple[torch.Tensor, torch.Tensor]:
    """An antialiased black disc on white, (H, W, 3), and each pixel's distance from its rim."""
    rows, columns = torch.meshgrid(torch.arange(size) - size / 2, torch.arange(size) - size / 2, indexing="ij")
    beyond = torch.sqrt(rows**2 + columns**2) - radius
    return (beyond + 0.5).clamp(0, 1)[..., None].expand(-1, -1, 3), beyond


def test_rim_of_a_disc_is_one_closed_thin_line() -> None:
    image, beyond = disc()
    edges = canny(image)[..., 0].bool()
    assert beyond[edges].abs().max() < 1.5
    assert edges.sum() == pytest.approx(2 * torch.pi * 20, rel=0.15)
    angles = torch.atan2(*(torch.nonzero(edges).float() - 32).T)
    assert torch.sort(angles).values.diff().max() < 0.2  # radians without an edge


def test_step_is_one_pixel_thick_and_flat_has_none() -> None:
    image = torch.zeros(32, 32, 3)
    image[:, 16:] = 1.0
    edges = canny(image)[..., 0]
    assert torch.equal(edges.sum(1), torch.ones(32))
    assert set(torch.nonzero(edges)[:, 1].tolist()) <= {15, 16}
    assert not canny(torch.full((32, 32, 3), 0.4)).any()


def test_weak_edges_count_only_beside_strong_ones() -> None:
    """A step that fades along its length is followed to where it is weak; a weak one alone is left out."""
    image = torch.zeros(64, 32, 3)
    image[:, 16:] = torch.linspace(0.15, 1.0, 64)[:, None, None]
    assert canny(image, weak=0.04, strong=0.2)[..., 0].sum(1).gt(0).float().mean() > 0.95
    faint = torch.zeros(64, 32, 3)
    faint[:, 16:] = 0.3
    assert not canny(faint, weak=0.04, strong=0.2).any()


def test_pictures_of_a_bundle(tmp_path: Path) -> None:
    image = torch.rand(64, 128, 3, generator=torch.Generator().manual_seed(0))
    save_image(image, tmp_path / "a.png")
    bundle = CaptionedBundle(tmp_path / "a.png", "a")
    exact = bundle.image()
    normals = control_picture(bundle, "normal", 1.0)
    assert torch.equal(normals[:32], exact[32:]) and torch.equal(normals[32:], exact[32:])
    torch.testing.assert_close(control_picture(bundle, "tile", 1.0), exact, rtol=0, atol=1e-6)
    coarse = control_picture(bundle, "tile", 8.0)
    assert coarse.shape == exact.shape and coarse.std() < 0.5 * exact.std()
    assert torch.equal(control_picture(bundle, "canny", 1.0), canny(exact))
    with pytest.raises(Bundle3DError, match=r"a\.depth\.png"):
        control_picture(bundle, "depth", 1.0)
    with pytest.raises(Bundle3DError, match="'pose'"):
        control_picture(bundle, "pose", 1.0)


def test_coarseness_is_spread_over_octaves() -> None:
    values = torch.tensor([coarseness_of(index) for index in range(300)])
    assert values.min() >= 1.0 and values.max() <= 8.0
    for low, high in ((1, 2), (2, 4), (4, 8)):
        assert 0.25 < ((values >= low) & (values < high)).float().mean() < 0.42
