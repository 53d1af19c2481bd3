from __future__ import annotations

import pytest
import torch
from bundle3d.pipelines.errors import Bundle3DError
from bundle3d.pipelines.kernels import HAVE_NUMBA
from bundle3d.pipelines.rendering.antialias import antialias
from bundle3d.pipelines.rendering.interpolate import interpolate
from bundle3d.pipelines.rendering.rasterise import rasterise
from bundle3d.pipelines.rendering.render import render_attributes
from bundle3d.pipelines.views.rig import Rig

from .cases import BACKENDS, both_projections, each_backend, relative
from .shapes import ORTHOGRAPHIC, PERSPECTIVE, bumpy, sphere


@each_backend
@both_projections
def test_it_equals_its_three_parts(rig: Rig, backend: str) -> None:
    vertices, faces = bumpy(30)
    attributes = torch.rand(len(vertices), 3, generator=torch.Generator().manual_seed(0))
    clip = rig.clip(vertices.float())
    fragments = rasterise(clip, faces, 60, 80, backend)
    parts = torch.cat((interpolate(attributes, clip, faces, fragments), fragments.mask[..., None].float()), dim=-1)
    expected = antialias(parts, clip, faces, fragments, backend)
    assert torch.allclose(render_attributes(attributes, clip, faces, 60, 80, backend), expected, atol=1e-6)


@pytest.mark.skipif(not HAVE_NUMBA, reason="numba is not installed")
@both_projections
@pytest.mark.parametrize("shared", (True, False))
def test_backends_agree(rig: Rig, shared: bool) -> None:
    vertices, faces = bumpy(60)
    random = torch.Generator().manual_seed(0)
    values = torch.rand((len(vertices), 3) if shared else (2, len(vertices), 3), generator=random)
    weights = torch.randn(2, 120, 100, 4, generator=random)
    results = []
    for backend in BACKENDS:
        attributes, clip = values.clone().requires_grad_(), rig.clip(vertices.float()).requires_grad_()
        image = render_attributes(attributes, clip, faces, 120, 100, backend)
        image.backward(weights)
        results.append((image.detach(), attributes.grad, clip.grad))
    for one, other in zip(*results):
        assert one.shape == other.shape and relative(one, other) < 1e-3


@each_backend
def test_gradients_against_finite_differences_away_from_silhouettes(backend: str) -> None:
    # a smooth loss on pixels well inside: moving the vertices only slides the attributes below those pixels
    vertices, faces = sphere(10)
    size = 64
    random = torch.Generator().manual_seed(0)
    attributes = torch.stack((torch.sin(3 * vertices[:, 0] + 1), torch.cos(4 * vertices[:, 1] - 1)), dim=-1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    window = torch.where((x**2 + y**2 < 0.3)[..., None], torch.stack((1 + x, torch.cos(3 * y)), dim=-1), 0.0)

    def loss(vertices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        image = render_attributes(
            attributes.to(dtype), PERSPECTIVE.clip(vertices).to(dtype), faces, size, size, backend
        )
        return (image[..., :2] ** 2 * window).double().sum()

    moved = vertices.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(moved, torch.float32), moved)
    for _ in range(6):
        direction = torch.randn(vertices.shape, dtype=torch.float64, generator=random)
        step = 1e-3
        exact = torch.float32 if backend == "numba" else torch.float64
        ahead, behind = loss(vertices + step * direction, exact), loss(vertices - step * direction, exact)
        expected = float(ahead - behind) / (2 * step)
        scale = float((gradient.norm(dim=-1) * direction.norm(dim=-1)).norm())
        assert abs(float((gradient * direction).sum()) - expected) <= 1e-2 * scale


@each_backend
@both_projections
def test_gradients_against_finite_differences_on_silhouettes(rig: Rig, backend: str) -> None:
    # growing by a smooth field, under a smooth loss on coverage, against the same loss supersampled
    vertices, faces = bumpy(40)
    size, fine, step = 64, 8, 5e-3
    grown = vertices * (1.0 + 0.3 * vertices[:, 1:2] + 0.2 * vertices[:, :1])

    def weight(size: int) -> torch.Tensor:
        line = (torch.arange(size) + 0.5) * (2 / size) - 1
        return 1 + 0.5 * torch.sin(2 * line)[:, None] * torch.cos(3 * line)[None, :]

    def truth(amount: float) -> float:
        clip = rig.clip(vertices + amount * grown).float()
        return float((rasterise(clip, faces, size * fine, size * fine).mask * weight(size * fine)).sum()) / fine**2

    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    clip = rig.clip(vertices + amount * grown).float()
    image = render_attributes(vertices.float(), clip, faces, size, size, backend)
    (found,) = torch.autograd.grad((image[..., -1] * weight(size)).sum(), amount)
    assert float(found) == pytest.approx((truth(step) - truth(-step)) / (2 * step), rel=5e-2)


@each_backend
def test_descent_along_the_gradient_finds_a_shifted_sphere(backend: str) -> None:
    vertices, faces = sphere(12)
    vertices = vertices.float() * 0.6
    goal = render_attributes(vertices, ORTHOGRAPHIC.clip(vertices + torch.tensor((0.2, -0.1, 0.15))), faces, 48, 48)
    offset = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.Adam([offset], lr=0.03)
    for _ in range(60):
        optimiser.zero_grad()
        image = render_attributes(vertices, ORTHOGRAPHIC.clip(vertices + offset), faces, 48, 48, backend)
        ((image - goal)[..., -1] ** 2).sum().backward()
        optimiser.step()
    assert (offset.detach() - torch.tensor((0.2, -0.1, 0.15))).norm() < 0.02


@each_backend
def test_two_renderings_before_one_backward_do_not_mix(backend: str) -> None:
    vertices, faces = bumpy(20)

    def rendering(scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        clip = PERSPECTIVE.clip(vertices.float() * scale).requires_grad_()
        return clip, render_attributes(vertices.float(), clip, faces, 40, 40, backend)

    first, image = rendering(1.0)
    second, other = rendering(0.7)
    image.square().sum().backward()
    other.square().sum().backward()
    for clip, scale in ((first, 1.0), (second, 0.7)):
        alone, again = rendering(scale)
        again.square().sum().backward()
        assert torch.equal(alone.grad, clip.grad)  # type: ignore[arg-type]


@each_backend
def test_slivers_have_bounded_gradients(backend: str) -> None:
    # 1e-5 pixels wide, and right through the centres of pixels
    x = 8.5 / 16 * 2 - 1
    clip = torch.tensor([[[x, -0.9, 0, 1], [x + 1e-6, 0.9, 0, 1], [x, 0.9, 0.0, 1], [x + 0.3, 0, 0.1, 1]]])
    clip.requires_grad_()
    image = render_attributes(torch.eye(4), clip, torch.tensor([[0, 1, 2], [0, 2, 3]]), 16, 16, backend)
    assert bool(torch.isfinite(image).all()) and image.abs().max() <= 2
    (gradient,) = torch.autograd.grad(image.square().sum(), clip)
    assert bool(torch.isfinite(gradient).all()) and gradient.abs().max() < 1e4


@each_backend
def test_no_faces_render_black(backend: str) -> None:
    clip = torch.zeros(2, 0, 4, requires_grad=True)
    image = render_attributes(torch.zeros(0, 3), clip, torch.zeros(0, 3, dtype=torch.int64), 8, 8, backend)
    assert image.shape == (2, 8, 8, 4) and not image.any()


@each_backend
def test_tensors_stay_on_the_device_of_the_inputs(backend: str) -> None:
    # whatever is made without naming a device would land on "meta" here and fail when it meets the inputs
    vertices, faces = bumpy(10)
    clip = PERSPECTIVE.clip(vertices.float()).requires_grad_()
    clip = torch.where(clip[..., :1] > 0.9, clip * torch.tensor((1.0, 1.0, 1.0, -1.0)), clip)
    expected = render_attributes(vertices.float(), clip, faces, 24, 24, backend)
    with torch.device("meta"):
        image = render_attributes(vertices.float(), clip, faces, 24, 24, backend)
        image.square().sum().backward()
    assert torch.equal(image, expected)


def test_refusals() -> None:
    vertices, faces = sphere(4)
    clip = PERSPECTIVE.clip(vertices.float())
    with pytest.raises(Bundle3DError, match="one row per vertex"):
        render_attributes(torch.zeros(3, 3), clip, faces, 8, 8)
    with pytest.raises(Bundle3DError, match="image size"):
        render_attributes(torch.zeros(len(vertices), 3), clip, faces, 8, 0)
