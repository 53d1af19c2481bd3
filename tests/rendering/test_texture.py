from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.rendering.texture import sample_texture


def ramp(height: int, width: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height).double() + 0.5, torch.arange(width).double() + 0.5, indexing="ij")
    return torch.stack((x / width, y / height), dim=-1)


def test_texel_centres_return_their_texels() -> None:
    texture = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(sample_texture(texture, ramp(5, 7).float(), repeat=True), texture, atol=1e-6)


def test_a_ramp_is_reproduced_between_the_centres() -> None:
    uv = torch.rand(2, 40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    assert torch.allclose(sample_texture(ramp(16, 32), uv, repeat=False), uv, atol=1e-12)


def test_outside_it_repeats_or_clamps() -> None:
    texture = torch.rand(4, 4, 2, generator=torch.Generator().manual_seed(0))
    uv = torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    shifted = uv + torch.tensor((3.0, -2.0))
    assert torch.allclose(sample_texture(texture, shifted, True), sample_texture(texture, uv, True), atol=1e-5)
    corner = sample_texture(texture, torch.tensor([(9.0, -9.0)]), repeat=False)
    assert torch.allclose(corner[0], texture[0, 3])
    across = sample_texture(texture, torch.tensor([(0.0, 0.125)]), repeat=True)
    assert torch.allclose(across[0], (texture[0, 0] + texture[0, 3]) / 2)


@pytest.mark.parametrize("repeat", (True, False))
def test_gradients(repeat: bool) -> None:
    random = torch.Generator().manual_seed(2)
    texture = torch.rand(4, 5, 2, dtype=torch.float64, generator=random).requires_grad_()
    uv = (torch.rand(30, 2, dtype=torch.float64, generator=random) * 0.97 + 0.011).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, u: sample_texture(t, u, repeat), (texture, uv), eps=1e-7, atol=1e-5)


def test_coordinates_that_are_not_finite_stay_inside() -> None:
    uv = torch.tensor([(float("nan"), 0.5), (float("inf"), -float("inf"))])
    for repeat in (True, False):
        assert bool(torch.isfinite(sample_texture(torch.ones(2, 2, 1), uv, repeat)).all())


def test_refusals() -> None:
    with pytest.raises(Bundle3DError, match="divide"):
        sample_texture(torch.zeros(2, 2, 3, dtype=torch.uint8), torch.zeros(1, 2))
    with pytest.raises(Bundle3DError, match="unwrap"):
        sample_texture(torch.zeros(2, 2, 3), torch.zeros(1, 3))
