from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.rendering.interpolate import interpolate
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.views.rig import Rig

from .cases import BACKENDS, both_projections, each_backend, relative
from .shapes import PERSPECTIVE, bumpy


@each_backend
@both_projections
def test_positions_land_on_their_pixels(rig: Rig, backend: str) -> None:
    vertices, faces = bumpy(16)
    vertices = vertices.float()
    clip = rig.clip(vertices)
    fragments = rasterise(clip, faces, 80, 80)
    image = interpolate(vertices, clip, faces, fragments, backend)
    assert not image[~fragments.mask].any()
    for view, camera in enumerate(rig):
        row, column = fragments.mask[view].nonzero(as_tuple=True)
        pixels, _ = camera.project(image[view, row, column], 80, 80)
        away = (pixels - torch.stack((column, row), dim=-1) - 0.5).norm(dim=-1)
        assert away.median() < 1e-4 and away.max() < 0.05


@each_backend
def test_attributes_of_each_view(backend: str) -> None:
    vertices, faces = bumpy(8)
    clip = PERSPECTIVE.clip(vertices.float())
    fragments = rasterise(clip, faces, 40, 40)
    per_view = torch.stack((torch.full((len(vertices), 1), 2.0), torch.full((len(vertices), 1), 5.0)))
    image = interpolate(per_view, clip, faces, fragments, backend)
    expected = fragments.mask * torch.tensor((2.0, 5.0))[:, None, None]
    assert torch.allclose(image[..., 0], expected)


@both_projections
def test_gradients_against_finite_differences(rig: Rig) -> None:
    vertices, faces = bumpy(5)
    random = torch.Generator().manual_seed(0)
    clip = rig.clip(vertices)
    fragments = rasterise(clip, faces, 24, 24)
    # triangles a tenth of a pixel wide have second derivatives that no finite step follows
    attributes = torch.rand(len(vertices), 2, dtype=torch.float64, generator=random)
    weights = torch.randn(*fragments.face.shape, 2, dtype=torch.float64, generator=random)
    inner = (fragments.barycentric.amin(-1) > 1e-3)[..., None]

    def loss(attributes: torch.Tensor, clip: torch.Tensor) -> torch.Tensor:
        return (interpolate(attributes, clip, faces, fragments) * weights * inner).sum()

    inputs = attributes.requires_grad_(), clip.requires_grad_()
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    for index, gradient in enumerate(gradients):
        for _ in range(5):
            direction = torch.randn(gradient.shape, dtype=torch.float64, generator=random)
            step = [torch.zeros_like(value) for value in inputs]
            step[index] = 1e-6 * direction
            with torch.no_grad():
                ahead = loss(*(value + move for value, move in zip(inputs, step)))
                behind = loss(*(value - move for value, move in zip(inputs, step)))
            expected = float(ahead - behind) / 2e-6
            assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
@both_projections
@pytest.mark.parametrize("shared", (True, False))
def test_backends_agree(rig: Rig, shared: bool) -> None:
    vertices, faces = bumpy(40)
    random = torch.Generator().manual_seed(0)
    shape = (len(vertices), 5) if shared else (2, len(vertices), 5)
    values = torch.rand(shape, generator=random)
    fragments = rasterise(rig.clip(vertices.float()), faces, 100, 120)
    weights = torch.randn(2, 100, 120, 5, generator=random)
    results = []
    for backend in BACKENDS:
        attributes = values.clone().requires_grad_()
        clip = rig.clip(vertices.float()).requires_grad_()
        image = interpolate(attributes, clip, faces, fragments, backend)
        image.backward(weights)
        results.append((image.detach(), attributes.grad, clip.grad))
    for one, other in zip(*results):
        assert one.shape == other.shape and relative(one, other) < 1e-3


def test_refusals() -> None:
    vertices, faces = bumpy(4)
    clip = PERSPECTIVE.clip(vertices.float())
    fragments = rasterise(clip, faces, 8, 8)
    for shape in ((len(vertices) - 1, 3), (3, len(vertices), 3), (len(vertices),)):
        with pytest.raises(Bundle3DError, match="one row per vertex"):
            interpolate(torch.zeros(shape), clip, faces, fragments)
