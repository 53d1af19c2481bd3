from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.meshes.padding import pad_texture


def half_mask(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros((height, width), dtype=torch.bool)
    mask[:, : width // 2] = True
    return mask


def test_covered_texels_stay_and_constants_spread() -> None:
    texture = torch.rand((37, 50, 3), generator=torch.Generator().manual_seed(0))
    mask = half_mask(37, 50)
    padded = pad_texture(texture, mask)
    assert torch.equal(padded[mask], texture[mask])
    flat = pad_texture(torch.full((37, 50, 3), 0.25) * mask[..., None], mask)
    assert torch.allclose(flat, torch.full_like(flat, 0.25), atol=1e-6)


def test_uint8_stays_uint8_and_in_range() -> None:
    texture = torch.full((16, 16, 4), 200, dtype=torch.uint8)
    mask = torch.zeros((16, 16), dtype=torch.bool)
    mask[3, 5] = True
    padded = pad_texture(texture * mask[..., None], mask)
    assert padded.dtype == torch.uint8 and bool((padded == 200).all())


def test_gutter_next_to_a_chart_takes_its_colour() -> None:
    texture = torch.zeros((64, 64, 1))
    texture[:, :32] = 1.0
    mask = torch.ones((64, 64), dtype=torch.bool)
    mask[:, 24:40] = False
    padded = pad_texture(texture * mask[..., None], mask)[..., 0]
    assert float(padded[:, 24:26].min()) > 0.7 and float(padded[:, 38:40].max()) < 0.3


def test_nothing_covered_returns_the_texture() -> None:
    texture = torch.rand((8, 8, 3))
    assert torch.equal(pad_texture(texture, torch.zeros((8, 8), dtype=torch.bool)), texture)


def test_sizes_must_agree() -> None:
    with pytest.raises(Bundle3DError, match="texel map"):
        pad_texture(torch.zeros((8, 8, 3)), torch.zeros((8, 9), dtype=torch.bool))
